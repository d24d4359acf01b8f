// Does to `Client` what it reads, one JSON object per line. Told `java`, it uses what Java has: blocking verbs, threads, OkHttp;
// otherwise suspending verbs, coroutines and Ktor. See tests/peers/README.md.
package peers

import dev.remint.Client
import dev.remint.Notice
import dev.remint.OnRotated
import dev.remint.RemintException
import dev.remint.Token
import java.io.ByteArrayOutputStream
import java.io.NotSerializableException
import java.io.ObjectOutputStream
import java.util.Collections
import kotlinx.coroutines.runBlocking
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.booleanOrNull
import kotlinx.serialization.json.contentOrNull
import kotlinx.serialization.json.int
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive

fun main(arguments: Array<String>) = runBlocking {
    val driver = Driver(if (arguments.contentEquals(arrayOf("java"))) Blocking() else Suspending())
    for (line in generateSequence(::readlnOrNull)) println(driver.obey(Json.parseToJsonElement(line).jsonObject))
    driver.close()
}

/** A client, and what its callbacks were told. Views of a user share the notices of the client that they come from. */
private class Held(
    val client: Client,
    val notices: MutableList<Notice>,
    val losses: Losses,
    val rotated: MutableList<String> = synchronizedList(),
)

private class Driver(private val style: Style) {
    private val clients = mutableMapOf<String, Held>()

    suspend fun obey(command: JsonObject): JsonObject = try {
        json("ok" to run(command.text("verb"), command))
    } catch (error: RemintException) {
        json("error" to about(error))
    } catch (error: Exception) {
        json("broken" to error.stackTraceToString())
    }

    private suspend fun run(verb: String, words: JsonObject): Any? {
        val name = words["client"]?.jsonPrimitive?.content
        val held by lazy { clients.getValue(checkNotNull(name) { "`$verb` needs a client" }) }
        return when (verb) {
            "client" -> keep(words)
            "token" -> about(style.token(held.client, force = words["force"]?.jsonPrimitive?.booleanOrNull ?: false))
            "tokens" -> style.tokens(held.client, words.getValue("callers").jsonPrimitive.int).map(::about)
            "call" -> style.call(held.client, words.text("url"))
            "authorization_url" -> {
                val scope = words["scope"]?.jsonPrimitive?.contentOrNull?.split(" ")
                val authorization = style.authorizationUrl(held.client, words.text("redirect_uri"), scope)
                mapOf("url" to authorization.url, "session" to authorization.session)
            }
            "exchange" -> {
                val rotated = synchronizedList<String>()
                val subject = words.text("subject")
                val onRotated = OnRotated { refreshToken, _ -> rotated += refreshToken }
                val token = style.exchange(held.client, words.text("callback"), words.text("session"), subject, onRotated)
                clients[words.text("view")] = Held(held.client.withSubject(subject), held.notices, held.losses, rotated)
                about(token)
            }
            "adopt" -> {
                val rotated = synchronizedList<String>()
                val onRotated = OnRotated { refreshToken, _ -> rotated += refreshToken }
                val view = held.client.withSubject(words.text("subject"), words.text("refresh_token"), onRotated)
                clients[words.text("view")] = Held(view, held.notices, held.losses, rotated)
                null
            }
            "rotated" -> held.rotated.toList()
            "notices" -> synchronized(held.notices) { held.notices.map(::about).also { held.notices.clear() } }
            "lose_answers" -> {
                held.losses.count.set(words.getValue("count").jsonPrimitive.int)
                null
            }
            else -> throw IllegalArgumentException("there is no verb `$verb`")
        }
    }

    private fun keep(words: JsonObject): Any? {
        val notices = synchronizedList<Notice>()
        val losses = Losses()
        // The text of a document, or a built-in name.
        val profile = words.getValue("profile").let { (it as? JsonPrimitive)?.content ?: it.toString() }
        val options = words.getValue("options").jsonObject
        val client = Client.builder(profile).apply {
            for ((name, value) in options) {
                when (name) {
                    "client_id" -> clientId(options.text(name))
                    "client_secret" -> clientSecret(options.text(name))
                    "scope" -> scope(options.text(name).split(" "))
                    "allow_loopback_http" -> allowLoopbackHttp(value == JsonPrimitive(true))
                    else -> variable(name, options.text(name))
                }
            }
            onNotice { notices += it }
            if (words["lossy"] == JsonPrimitive(true)) http(losses)
        }.build()
        clients[words.text("name")] = Held(client, notices, losses)
        return null
    }

    suspend fun close() {
        clients.values.forEach { it.client.close() }
        style.close()
    }
}

private fun about(token: Token) = mapOf(
    "access_token" to token.accessToken,
    "token_type" to token.tokenType,
    "expires_in" to token.expiresIn().toMillis() / 1e3,
    "scope" to token.scope,
    "shown" to "$token ${listOf(token)} ${serialized(token)}",
)

private fun about(error: RemintException) = mapOf(
    "code" to error.code,
    "family" to error.family,
    "message" to error.message,
    "status" to error.status,
    "retryable" to error.isRetryable,
    "oauth_error" to error.oauthError,
    "hint" to error.hint,
    "ambiguous" to error.isAmbiguous,
    "shown" to "${error.stackTraceToString()} ${serialized(error)}",
)

private fun about(notice: Notice) =
    mapOf("notice" to notice.name, "detail" to notice.detail, "key" to notice.key, "flight" to notice.flight, "shown" to "$notice")

/** What Java's serialization would write of it, where it may. */
private fun serialized(value: Any): String {
    val bytes = ByteArrayOutputStream()
    try {
        ObjectOutputStream(bytes).use { it.writeObject(value) }
    } catch (_: NotSerializableException) {
        return "not serializable"
    }
    return bytes.toString(Charsets.ISO_8859_1)
}

private fun JsonObject.text(name: String) = getValue(name).jsonPrimitive.content

private fun json(vararg members: Pair<String, Any?>) = JsonObject(members.associate { (name, value) -> name to element(value) })

private fun element(value: Any?): JsonElement = when (value) {
    null -> JsonNull
    is Boolean -> JsonPrimitive(value)
    is Number -> JsonPrimitive(value)
    is Map<*, *> -> JsonObject(value.entries.associate { (name, member) -> name.toString() to element(member) })
    is List<*> -> JsonArray(value.map(::element))
    else -> JsonPrimitive(value.toString())
}

private fun <T> synchronizedList(): MutableList<T> = Collections.synchronizedList(mutableListOf<T>())

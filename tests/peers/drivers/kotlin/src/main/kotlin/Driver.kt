// Does to `Client` what it reads, one JSON object per line. Told `java`, it uses what Java has: blocking verbs, threads, OkHttp;
// otherwise suspending verbs, coroutines and Ktor. See tests/peers/README.md.
package peers

import dev.remint.Builder
import dev.remint.Client
import dev.remint.Notice
import dev.remint.OnRotated
import dev.remint.RegistrationRequest
import dev.remint.RemintException
import dev.remint.SigningKey
import dev.remint.StoreKey
import dev.remint.Token
import java.io.ByteArrayOutputStream
import java.io.NotSerializableException
import java.io.ObjectOutputStream
import java.nio.file.Path
import java.time.Duration
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
import kotlinx.serialization.json.double
import kotlinx.serialization.json.int
import kotlinx.serialization.json.jsonArray
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
    val tls: Tls?,
    val rotated: MutableList<String> = synchronizedList(),
) {
    /** What comes of it for a user, who has refresh tokens of their own. */
    fun view(client: Client, rotated: MutableList<String> = synchronizedList()) = Held(client, notices, losses, tls, rotated)
}

private class Driver(private val style: Style) {
    private val clients = mutableMapOf<String, Held>()
    private val stores = Stores()

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
            "token" -> about(style.token(held.client, words["force"]?.jsonPrimitive?.booleanOrNull ?: false, words["timeout"]?.let(::seconds)))
            "tokens" -> style.tokens(held.client, words.getValue("callers").jsonPrimitive.int).map(::about)
            "call" -> style.call(held.client, words.text("url"), words.some("method") ?: "GET", held.tls)
            "authorization_url" -> {
                val parameters = words["parameters"]?.jsonObject.orEmpty().mapValues { (_, value) -> value.jsonPrimitive.content }
                val authorization = style.authorizationUrl(held.client, words.text("redirect_uri"), words.scope(), parameters, details(words["authorization_details"]))
                mapOf("url" to authorization.url, "session" to authorization.session)
            }
            "exchange" -> {
                val subject = words.text("subject")
                val (rotated, onRotated) = saving()
                val token = style.exchange(held.client, words.text("callback"), words.text("session"), subject, onRotated)
                clients[words.text("view")] = held.view(held.client.withSubject(subject), rotated)
                about(token)
            }
            "device_authorization" -> with(style.deviceAuthorization(held.client, words.scope())) {
                mapOf(
                    "user_code" to userCode, "verification_uri" to verificationUri, "verification_uri_complete" to verificationUriComplete, "qr_text" to qrText,
                    "expires_in" to expiresIn.toMillis() / 1e3, "interval" to interval.toMillis() / 1e3, "session" to session, "shown" to "$this ${serialized(this)}",
                )
            }
            "backchannel" -> with(style.backchannelAuthentication(held.client, words.some("login_hint"), words.some("binding_message"), words.scope())) {
                mapOf(
                    "expires_in" to expiresIn.toMillis() / 1e3, "interval" to interval.toMillis() / 1e3, "session" to session, "shown" to "$this ${serialized(this)}",
                )
            }
            "poll" -> {
                val subject = words.text("subject")
                val (rotated, onRotated) = saving()
                val token = style.poll(held.client, words.text("session"), subject, onRotated)
                clients[words.text("view")] = held.view(held.client.withSubject(subject), rotated)
                about(token)
            }
            "introspect" -> with(style.introspect(held.client, words.text("token"), words.some("hint"))) {
                mapOf("active" to isActive, "claims" to claims, "shown" to "$this ${serialized(this)}")
            }
            "revoke" -> {
                style.revoke(held.client, words.some("token"), words.some("hint"))
                null
            }
            "with_resource" -> {
                clients[words.text("view")] = held.view(held.client.withResource(*texts(words.getValue("resource")).toTypedArray()))
                null
            }
            "with_subject" -> {
                val (rotated, onRotated) = saving()
                val (subject, subjectToken) = words.text("subject") to words.some("subject_token")
                val view = if (subjectToken == null) held.client.withSubject(subject, onRotated = onRotated)
                else held.client.withSubject(subject, onRotated, subjectToken, words.some("actor_token"))
                clients[words.text("view")] = held.view(view, rotated)
                null
            }
            "adopt" -> {
                val (rotated, onRotated) = saving()
                clients[words.text("view")] = held.view(held.client.withSubject(words.text("subject"), words.text("refresh_token"), onRotated), rotated)
                null
            }
            "register" -> register(words)
            "invalidate" -> {
                style.invalidate(held.client)
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

    private suspend fun register(words: JsonObject): Any? {
        val options = words.getValue("options").jsonObject
        val registrar = Client.builder(words.profile()).apply {
            for ((name, value) in options) option(name, value)
            options.some("ca")?.let { trustManager(Tls(it, null, null).trust) }
        }.registrar()
        val (word, members) = words.getValue("request").jsonObject.entries.single().let { (word, members) -> word to members.jsonObject }
        fun uri() = members.text("registration_client_uri")
        fun token() = members.text("registration_access_token")
        val request = when (word) {
            "register" -> RegistrationRequest.Register(members.text("metadata"), members.some("initial_access_token"), members.some("software_statement"))
            "read" -> RegistrationRequest.Read(uri(), token())
            "update" -> RegistrationRequest.Update(uri(), token(), members.text("metadata"), members.some("client_id"), members.some("client_secret"))
            "delete" -> RegistrationRequest.Delete(uri(), token())
            else -> throw IllegalArgumentException("there is no registration request `$word`")
        }
        return style.register(registrar, request)?.run {
            mapOf(
                "client_id" to clientId, "client_secret" to clientSecret, "registration_access_token" to registrationAccessToken,
                "registration_client_uri" to registrationClientUri, "metadata" to metadata, "shown" to "$this ${serialized(this)} $registrar $request",
            )
        }
    }

    private fun keep(words: JsonObject): Any? {
        val notices = synchronizedList<Notice>()
        val losses = Losses()
        val profile = words.profile()
        val options = words.getValue("options").jsonObject
        val (pair, ca) = options["client_certificate"]?.jsonObject to options.some("ca")
        val tls = if (pair == null && ca == null) null else Tls(ca, pair?.text("certificate"), pair?.text("key"))
        val client = Client.builder(profile).apply {
            for ((name, value) in options) option(name, value)
            if (tls != null) trustManager(tls.trust)
            onNotice { notices += it }
            if (words["lossy"] == JsonPrimitive(true)) http(losses)
        }.build()
        clients[words.text("name")] = Held(client, notices, losses, tls)
        return null
    }

    private fun Builder.option(name: String, value: JsonElement) {
        when (name) {
            "ca" -> Unit
            "client_id" -> clientId(value.text)
            "client_secret" -> clientSecret(value.text)
            "scope" -> scope(value.text.split(" "))
            "api_origins" -> apiOrigins(*texts(value).toTypedArray())
            "allow_loopback_http" -> allowLoopbackHttp(value == JsonPrimitive(true))
            "signing_key" -> with(value.jsonObject) { signingKey(SigningKey.pem(text("pem"), some("alg"), some("kid"))) }
            "dpop" -> with(value.jsonObject) { if ("pem" in this) dpop(SigningKey.pem(text("pem"), some("alg"))) else dpop() }
            "client_certificate" -> with(value.jsonObject) { clientCertificate(Path.of(text("certificate")), Path.of(text("key"))) }
            "store" -> store(stores.of(value.jsonObject))
            "store_keys" -> storeKeys(*value.jsonArray.map { with(it.jsonObject) { StoreKey(text("id"), text("key")) } }.toTypedArray())
            "subject_token" -> subjectToken { value.text }
            "actor_token" -> actorToken { value.text }
            "assertion" -> assertion { value.text }
            else -> variable(name, plain(value) ?: return)
        }
    }

    suspend fun close() {
        clients.values.forEach { it.client.close() }
        stores.close()
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
    "acr_values" to error.acrValues,
    "max_age" to error.maxAge?.toSeconds(),
    "shown" to "${error.stackTraceToString()} ${serialized(error)}",
)

private fun about(notice: Notice) =
    mapOf("notice" to notice.name, "detail" to notice.detail, "key" to notice.key, "flight" to notice.flight, "why" to notice.cause?.message, "shown" to "$notice")

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

private val JsonElement.text get() = jsonPrimitive.content

private fun JsonObject.text(name: String) = getValue(name).text

private fun JsonObject.some(name: String) = (get(name) as? JsonPrimitive)?.contentOrNull

private fun seconds(value: JsonElement): Duration = Duration.ofMillis((value.jsonPrimitive.double * 1e3).toLong())

/** The text of a document, or a built-in name. */
private fun JsonObject.profile() = getValue("profile").let { (it as? JsonPrimitive)?.content ?: it.toString() }

private fun JsonObject.scope() = some("scope")?.split(" ")

/** A list of texts, or one of them. */
private fun texts(value: JsonElement): List<String> = (value as? JsonArray)?.map { it.text } ?: listOf(value.text)

@Suppress("UNCHECKED_CAST")
private fun details(value: JsonElement?) = value?.let(::plain) as List<Map<String, Any?>>?

/** As an option of the client takes it. */
private fun plain(value: JsonElement): Any? = when (value) {
    is JsonObject -> value.mapValues { (_, member) -> plain(member) }
    is JsonArray -> value.map(::plain)
    is JsonPrimitive -> if (value.isString) value.content else value.booleanOrNull ?: value.contentOrNull?.toBigDecimal()
}

/** What keeps each refresh token, and what gives it them. */
private fun saving(): Pair<MutableList<String>, OnRotated> {
    val rotated = synchronizedList<String>()
    return rotated to OnRotated { refreshToken, _ -> rotated += refreshToken }
}

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

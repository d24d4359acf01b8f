// The demo's Kotlin side: one client of one provider, told line by line what to do. `cargo xtask demo` runs it.
import dev.remint.Client
import dev.remint.Token
import dev.remint.okhttp.remint
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.coroutineScope
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.boolean
import kotlinx.serialization.json.jsonArray
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive
import okhttp3.OkHttpClient
import okhttp3.Request

private class Demo(private val provider: String, base: String) {
    private val options = Json.parseToJsonElement(System.getenv("DEMO_OPTIONS")).jsonObject
    private val api = "$base/v1/wallets"
    private val http = OkHttpClient.Builder().followRedirects(false).build()
    private var client = newClient()

    suspend fun play(step: String, words: List<String>): Map<String, Any> = when (step) {
        // A client that holds nothing yet.
        "new" -> {
            client = newClient()
            emptyMap()
        }

        // The client for one user, whose refresh token comes from a database.
        "subject" -> {
            val (name, refreshToken) = words
            client = client.withSubject(name, refreshToken)
            emptyMap()
        }

        "sign_in" -> {
            val authorization = client.authorizationUrl(options.text("redirect_uri"))
            val consent = http.newCall(Request.Builder().url(authorization.url).build()).execute()
            val callback = consent.use { checkNotNull(it.header("Location")) { "the provider sent no one back" } }
            about(client.exchange(callback, authorization.session))
        }

        "token" -> about(client.token())

        "call" -> {
            val calls = http.newBuilder().remint(client).build()
            calls.newCall(Request.Builder().url(api).build()).execute().use { mapOf("status" to it.code) }
        }

        "crowd" -> coroutineScope {
            val callers = List(words.single().toInt()) { async(Dispatchers.Default) { client.token() } }
            mapOf("tokens" to callers.awaitAll().map { it.accessToken }.toSet().size)
        }

        else -> throw IllegalArgumentException("there is no step $step")
    }

    private fun newClient() = Client(provider, options.text("client_id"), options.text("client_secret")) {
        apiOrigins(*options.getValue("api_origins").jsonArray.map { it.jsonPrimitive.content }.toTypedArray())
        allowLoopbackHttp(options.getValue("allow_loopback_http").jsonPrimitive.boolean)
        options["scope"]?.let { scope(it.jsonPrimitive.content) }
        for (name in options.keys - OF_EVERY_CLIENT) variable(name, options.text(name))
    }

    private fun about(token: Token) = mapOf("expires_in" to token.expiresIn().toMillis() / 1e3)
}

private fun JsonObject.text(name: String) = getValue(name).jsonPrimitive.content

/** What every client takes; the rest are the provider's own variables. */
private val OF_EVERY_CLIENT = setOf("client_id", "client_secret", "scope", "api_origins", "allow_loopback_http")

suspend fun main(arguments: Array<String>) {
    val (provider, base) = arguments
    val demo = Demo(provider, base)
    for (line in generateSequence(::readlnOrNull)) {
        val words = line.split(" ")
        val result = try {
            mapOf("ok" to true) + demo.play(words.first(), words.drop(1))
        } catch (error: Exception) {
            mapOf("ok" to false, "detail" to error.toString())
        }
        val answer = mapOf("provider" to provider, "step" to words.first()) + result
        println(JsonObject(answer.mapValues { (_, value) -> primitive(value) }))
    }
}

private fun primitive(value: Any) = when (value) {
    is Boolean -> JsonPrimitive(value)
    is Number -> JsonPrimitive(value)
    else -> JsonPrimitive(value.toString())
}

package dev.remint.hosts

import dev.remint.Builder
import dev.remint.Client
import dev.remint.Clock
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonObjectBuilder
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.add
import kotlinx.serialization.json.buildJsonObject
import kotlinx.serialization.json.jsonPrimitive
import kotlinx.serialization.json.long
import kotlinx.serialization.json.put
import kotlinx.serialization.json.putJsonArray
import java.io.ByteArrayInputStream
import java.net.URI
import java.net.http.HttpClient
import java.net.http.HttpRequest
import java.net.http.HttpResponse
import java.nio.file.Files
import java.security.KeyStore
import java.security.cert.CertificateFactory
import java.util.concurrent.atomic.AtomicInteger
import java.util.concurrent.atomic.AtomicLong
import javax.net.ssl.SSLContext
import javax.net.ssl.TrustManagerFactory

internal const val CLIENT_ID = "demo-client"
internal const val SECRET = "s3cret+/%&: odd"

/** The lifetime of most tokens, in milliseconds. */
internal const val HOUR = 3_600_000L

/** The local authority as a child of this program. It ends when this program's end closes its stdin. */
internal object Authority {
    private val about: JsonObject

    /** What trusts the authority's certificate and nothing else. */
    val trust: SSLContext

    init {
        val command = System.getenv("REMINT_AUTHORITY")?.split(" ") ?: listOf("cargo", "run", "--quiet", "--package", "authority", "--")
        val certificate = Files.createTempFile("remint-ca", ".pem")
        val builder = ProcessBuilder(command + listOf("--exit-with-stdin", "--quiet", "--ca-out", "$certificate"))
        val child = builder.redirectError(ProcessBuilder.Redirect.INHERIT).start()
        about = Json.parseToJsonElement(child.inputStream.bufferedReader().readLine() ?: error("the authority did not start")) as JsonObject
        trust = trusting(Files.readAllBytes(certificate))
        Files.delete(certificate)
    }

    /** Where it speaks `http` or `https`, or the `other` origin. */
    fun address(origin: String): String = about.getValue(origin).jsonPrimitive.content

    private fun trusting(pem: ByteArray): SSLContext {
        val store = KeyStore.getInstance(KeyStore.getDefaultType()).apply { load(null) }
        store.setCertificateEntry("authority", CertificateFactory.getInstance("X.509").generateCertificate(ByteArrayInputStream(pem)))
        val trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm()).apply { init(store) }
        return SSLContext.getInstance("TLS").apply { init(null, trust.trustManagers, null) }
    }
}

/** An HTTP client that is not under test, and follows no redirects. */
internal object Http {
    private val client: HttpClient = HttpClient.newHttpClient()

    fun get(url: String, headers: Map<String, String> = emptyMap()): HttpResponse<String> = send("GET", url, headers, null)

    fun send(method: String, url: String, headers: Map<String, String>, body: String?): HttpResponse<String> {
        val publisher = if (body == null) HttpRequest.BodyPublishers.noBody() else HttpRequest.BodyPublishers.ofString(body)
        val request = HttpRequest.newBuilder(URI(url)).method(method, publisher)
        headers.forEach { (name, value) -> request.header(name, value) }
        return client.send(request.build(), HttpResponse.BodyHandlers.ofString())
    }
}

/** A corner of the authority that no other test sees. */
internal class Lane {
    private val name = "kotlin-${ProcessHandle.current().pid()}-${COUNT.incrementAndGet()}"

    /** The address that stands for a provider's host. */
    fun url(provider: String, origin: String = "http"): String = "${Authority.address(origin)}/$name/$provider"

    fun control(method: String, path: String, body: JsonElement? = null): JsonElement {
        val response = Http.send(method, url("control/$path"), mapOf("content-type" to "application/json"), body?.toString())
        check(response.statusCode() < 300) { "$method $path: ${response.statusCode()} ${response.body()}" }
        return if (response.body().isEmpty()) JsonNull else Json.parseToJsonElement(response.body())
    }

    /** Adds a rule for the token endpoint, unless it names another. */
    fun fault(rule: JsonObject) {
        control("POST", "faults", JsonObject(mapOf("endpoint" to JsonPrimitive("token")) + rule))
    }

    fun fault(rule: JsonObjectBuilder.() -> Unit) = fault(buildJsonObject(rule))

    fun settings(settings: JsonObjectBuilder.() -> Unit) {
        control("PUT", "settings", buildJsonObject(settings))
    }

    /** One of the counters, such as `api/by_status/401`; zero if there is none of that name yet. */
    fun count(path: String): Long =
        path.split('/').fold<String, JsonElement?>(control("GET", "counters")) { found, name -> (found as? JsonObject)?.get(name) }?.jsonPrimitive?.long ?: 0

    fun tokenRequests(): Long = count("token/total")

    fun revoke() {
        control("POST", "revoke", JsonObject(emptyMap()))
    }

    /** Lets requests go on that a fault holds. */
    fun release() {
        control("POST", "release")
    }

    /** A refresh token of a user's. */
    fun mint(subject: String): String {
        val minted = control("POST", "mint", buildJsonObject { put("provider", "rapidomize"); put("subject", subject) })
        return (minted as JsonObject).getValue("refresh_token").jsonPrimitive.content
    }

    fun log(kind: String): List<JsonObject> = (control("GET", "log?kind=$kind") as JsonArray).map { it as JsonObject }

    /** Another client of the authority's. */
    fun register(id: String, secret: String, scopes: List<String>? = null) {
        control(
            "POST",
            "clients",
            buildJsonObject {
                put("client_id", id)
                put("client_secret", secret)
                if (scopes != null) putJsonArray("scopes") { scopes.forEach(::add) }
            },
        )
    }

    /** A client of one of the five providers, as its documentation would have it. */
    fun client(provider: String = "phoenix-wallet", origin: String = "http", configure: Builder.() -> Unit = {}): Client {
        val base = url(provider, origin)
        val builder = Client.builder(provider).clientId(CLIENT_ID).clientSecret(SECRET).allowLoopbackHttp(origin == "http")
        if (provider != "phoenix-security") {
            builder.variable("token_endpoint", base + if (provider == "personify") "/connect/token" else "/oauth/token")
        }
        when (provider) {
            "phoenix-market" -> builder.variable("iframe_url", "$base/embed").apiOrigins(Authority.address(origin))
            "phoenix-wallet" -> builder.scope("wallets:read")
            "personify" -> builder.variable("tenant_id", "demo-tenant")
            "rapidomize" -> builder
                .variable("grant", "authorization_code")
                .variable("authorization_endpoint", "$base/oauth/authorize")
                .variable("issuer", base)
                .variable("redirect_uri", "https://app.example/callback")
        }
        if (provider != "phoenix-market") builder.variable("base_url", base)
        return builder.apply(configure).build()
    }

    private companion object {
        val COUNT = AtomicInteger()
    }
}

/** Both clocks of this machine, which can be moved on. */
internal class MovedClock : Clock {
    private val offset = AtomicLong()

    /** Sets how far it is ahead, in milliseconds. */
    fun moveTo(offset: Long) = this.offset.set(offset)

    override fun wall(): Long = System.currentTimeMillis() + offset.get()

    override fun boot(): Long = (System.nanoTime() - START) / 1_000_000 + offset.get()

    private companion object {
        val START = System.nanoTime()
    }
}

/** Fails if a secret is printed. */
internal fun checkNoSecret(text: String, vararg secrets: String) {
    val encoded = SECRET.toByteArray().joinToString("") { byte -> byte.toInt().toChar().let { if (it.isLetterOrDigit()) "$it" else "%%%02X".format(byte) } }
    for (secret in secrets.toList() + SECRET + encoded + SECRET.replace(" ", "+")) {
        check(secret !in text) { "a secret is printed: ${text.replace(secret, "<HERE>")}" }
    }
}

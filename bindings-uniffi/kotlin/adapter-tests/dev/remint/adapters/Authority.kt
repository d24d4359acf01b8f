package dev.remint.adapters

import dev.remint.Builder
import dev.remint.Client
import java.net.URI
import java.net.URLEncoder
import java.net.http.HttpClient
import java.net.http.HttpRequest
import java.net.http.HttpRequest.BodyPublishers
import java.net.http.HttpResponse.BodyHandlers
import java.util.concurrent.atomic.AtomicInteger
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.int
import kotlinx.serialization.json.jsonArray
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive

/** The local authority, a child of the test program for as long as that runs. */
private object Authority {
    private val addresses: JsonObject

    init {
        val program = checkNotNull(System.getProperty("remint.authority")) { "say where the authority is: -Dremint.authority=PATH" }
        val child = ProcessBuilder(program, "--exit-with-stdin", "--quiet")
            .redirectError(ProcessBuilder.Redirect.INHERIT)
            .start()
        addresses = Json.parseToJsonElement(checkNotNull(child.inputReader().readLine()) { "the authority did not start" }).jsonObject
    }

    val origin: String get() = addresses.text("http")

    /** The same server on another port, which makes another origin. */
    val otherOrigin: String get() = addresses.text("other")
}

/** A corner of the authority that no other test sees. */
class Lane {
    private val name = "jvm-${ProcessHandle.current().pid()}-${LANES.incrementAndGet()}"

    /** Where API calls with a wallet's token go. */
    val api: String get() = url("phoenix-wallet/v1/wallets")

    val origin: String get() = Authority.origin
    val otherOrigin: String get() = Authority.otherOrigin

    fun url(path: String): String = "$origin/$name/$path"

    fun otherUrl(path: String): String = "$otherOrigin/$name/$path"

    /** An API of the provider's that checks the token and then redirects, method and body kept. */
    fun redirect(to: String, provider: String = "phoenix-wallet"): String =
        url("$provider/v1/redirect?status=307&to=${URLEncoder.encode(to, Charsets.UTF_8)}")

    /** A client of one of the five providers, as its documentation would have it. */
    fun client(provider: String = "phoenix-wallet", configure: Builder.() -> Unit = {}): Client {
        val base = url(provider)
        val scope = if (provider == "phoenix-wallet") listOf("wallets:read", "wallets:write") else null
        return Client(provider, "demo-client", "s3cret+/%&: odd", scope) {
            allowLoopbackHttp(true)
            when (provider) {
                "phoenix-market" -> {
                    variable("token_endpoint", "$base/oauth/token")
                    variable("iframe_url", "$base/embed")
                    apiOrigins(origin)
                }
                "phoenix-security" -> variable("base_url", base)
                else -> {
                    variable("token_endpoint", if (provider == "personify") "$base/connect/token" else "$base/oauth/token")
                    variable("base_url", base)
                }
            }
            if (provider == "personify") variable("tenant_id", "demo-tenant")
            if (provider == "rapidomize") {
                variable("grant", "authorization_code")
                variable("authorization_endpoint", "$base/oauth/authorize")
                variable("issuer", base)
                variable("redirect_uri", "https://app.example/callback")
            }
            configure()
        }
    }

    /** A user of `rapidomize`, whose grant needs one. */
    fun user(configure: Builder.() -> Unit = {}): Client {
        val minted = control("POST", "mint", """{"provider":"rapidomize","subject":"bob"}""").jsonObject
        return client("rapidomize", configure).withSubject("bob", minted.text("refresh_token"))
    }

    fun fault(rule: String) {
        control("POST", "faults", rule)
    }

    fun revoke() {
        control("POST", "revoke", "{}")
    }

    fun tokenRequests(): Int = count("token", "total")

    fun count(kind: String, what: String): Int =
        control("GET", "counters").jsonObject.getValue(kind).jsonObject.getValue(what).jsonPrimitive.int

    fun log(): List<JsonObject> = control("GET", "log").jsonArray.map { it.jsonObject }

    /** Returns when the authority holds a token request in its hands. */
    fun awaitTokenRequest() {
        for (attempt in 1..500) {
            if (count("token", "running") > 0) return
            Thread.sleep(20)
        }
        error("no token request arrived")
    }

    fun control(method: String, path: String, body: String? = null): JsonElement {
        val request = HttpRequest.newBuilder(URI(url("control/$path")))
            .header("content-type", "application/json")
            .method(method, if (body == null) BodyPublishers.noBody() else BodyPublishers.ofString(body))
        val answer = HTTP.send(request.build(), BodyHandlers.ofString())
        check(answer.statusCode() in 200..299) { "$method $path: ${answer.statusCode()} ${answer.body()}" }
        return if (answer.body().isEmpty()) JsonNull else Json.parseToJsonElement(answer.body())
    }

    private companion object {
        val HTTP: HttpClient = HttpClient.newHttpClient()
        val LANES = AtomicInteger()
    }
}

fun JsonObject.text(name: String): String = getValue(name).jsonPrimitive.content

fun JsonObject.texts(name: String): List<String> = (getValue(name) as JsonArray).map { it.jsonPrimitive.content }

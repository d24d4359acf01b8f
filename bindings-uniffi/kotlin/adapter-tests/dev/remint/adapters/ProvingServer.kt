package dev.remint.adapters

import com.sun.net.httpserver.HttpExchange
import com.sun.net.httpserver.HttpServer
import dev.remint.Client
import java.net.InetAddress
import java.net.InetSocketAddress
import java.util.Base64
import java.util.concurrent.CopyOnWriteArrayList
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive

/** One API request as it arrived, and what its proof says (RFC 9449 section 4.2). */
class Proven(val path: String, val authorization: String?, val claims: JsonObject?, val body: String)

/** A server that binds its tokens to a key, and an API that wants a proof with each request. */
class ProvingServer : AutoCloseable {
    val arrived: MutableList<Proven> = CopyOnWriteArrayList()

    /** What the API wants in each proof, if it wants anything. */
    @Volatile
    var nonce: String? = null

    /** What it says that it wants; the same unless set. */
    @Volatile
    var told: String? = null

    private val server = HttpServer.create(InetSocketAddress(InetAddress.getByName("127.0.0.1"), 0), 0).apply {
        createContext("/token") { it.answer(200, """{"access_token":"T1","token_type":"DPoP","expires_in":3600}""") }
        createContext("/") { api(it) }
        start()
    }

    val origin: String get() = "http://127.0.0.1:${server.address.port}"

    fun client(vararg apiOrigins: String = arrayOf(origin)): Client {
        val profile = """{"name":"proving","title":"Proving","grants":["client_credentials"],
            "token":{"endpoint":"$origin/token","client_auth":["client_secret_basic"]},"api_origins":[]}"""
        return Client(profile, "someone", "s3cret") { allowLoopbackHttp(true).dpop().apiOrigins(*apiOrigins) }
    }

    override fun close() = server.stop(0)

    private fun api(exchange: HttpExchange) {
        val claims = exchange.requestHeaders.getFirst("DPoP")?.split('.')?.let { Json.parseToJsonElement(Base64.getUrlDecoder().decode(it[1]).decodeToString()).jsonObject }
        val path = exchange.requestURI.path
        val body = exchange.requestBody.readAllBytes().decodeToString()
        arrived += Proven(path, exchange.requestHeaders.getFirst("Authorization"), claims, body)
        val to = exchange.requestURI.query?.takeIf { it.startsWith("to=") }?.removePrefix("to=")
        when {
            path == "/step-up" -> exchange.challenge("insufficient_user_authentication\", acr_values=\"gold\", max_age=\"60")
            nonce != null && claims?.get("nonce")?.jsonPrimitive?.content != nonce -> {
                exchange.responseHeaders.set("DPoP-Nonce", told ?: nonce)
                exchange.challenge("use_dpop_nonce")
            }
            to != null -> {
                exchange.responseHeaders.set("Location", to)
                exchange.answer(307, "{}")
            }
            else -> exchange.answer(200, "{}")
        }
    }

    private fun HttpExchange.challenge(error: String) {
        responseHeaders.set("WWW-Authenticate", "DPoP error=\"$error\"")
        answer(401, "{}")
    }

    private fun HttpExchange.answer(status: Int, json: String) {
        responseHeaders.set("Content-Type", "application/json")
        sendResponseHeaders(status, json.length.toLong())
        responseBody.use { it.write(json.toByteArray()) }
    }
}

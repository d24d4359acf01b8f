package dev.remint.vectors

import dev.remint.core.Now
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import java.util.Base64

/** The setting of a vector: options, both clocks' starting points, entropy. */
internal class Given(value: JsonElement?) {
    val options: JsonObject

    /** The options of those processes that have others. */
    val processes: Map<String, JsonObject>
    val start: Now
    val entropy: ByteArray

    init {
        val fields = Fields("`given`", value)
        val all = fields.some("options")["options"] as? JsonObject ?: JsonObject(emptyMap())
        val shared = all + fields.some("profile")
        options = complete(shared)
        processes = (fields.take("processes") as? JsonObject).orEmpty().mapValues { (_, own) -> complete(shared + own as JsonObject) }
        start = Now(fields.long("wall0") ?: 1_700_000_000_000, fields.long("boot0") ?: 0)
        entropy = readEntropy(fields.text("entropy") ?: "zeros")
        fields.end()
    }

    /** The options of what registers clients: there is no client yet. */
    val registrar: JsonObject get() = JsonObject(options - setOf("client_id", "client_secret"))

    /** `at` moves both clocks from where they began, `wall` and `boot` set one. */
    fun clocks(fields: Fields): Now {
        val at = fields.long("at") ?: 0
        return Now(fields.long("wall") ?: (start.wall + at), fields.long("boot") ?: (start.boot + at))
    }
}

/** What nearly every client needs is not written in every vector; null takes it away. */
private fun complete(options: Map<String, JsonElement>): JsonObject {
    val defaults = buildMap {
        put("client_id", JsonPrimitive("id"))
        val otherwise = options["client_auth"].asText() == "none" || "client_secret_provided" in options || "api_token" in options
        if (!otherwise) put("client_secret", JsonPrimitive("secret"))
    }
    return JsonObject((defaults + options).filterValues { it !is JsonNull })
}

/** `zeros`, or up to 64 hexadecimal digits with zeros behind them. */
internal fun readEntropy(text: String): ByteArray {
    if (text == "zeros") return ByteArray(32)
    if (text.length % 2 != 0 || text.length > 64 || !text.all { it in '0'..'9' || it in 'a'..'f' || it in 'A'..'F' }) {
        throw Problem("  the entropy `$text` is not understood")
    }
    return text.chunked(2).map { it.toInt(16).toByte() }.toByteArray().copyOf(32)
}

private val WORDS = listOf(
    "ask", "start", "renewed", "cancel", "received", "failed", "provided", "signed", "verified", "stored", "tick", "attach",
    "answered", "changed", "invalidate", "forked", "close", "drop", "build", "registration", "finish", "simulate", "event",
)

internal fun wordOf(step: JsonObject): String =
    WORDS.singleOrNull(step::containsKey) ?: throw Problem("  a step has exactly one of these: ${WORDS.joinToString()}")

/** An HTTP answer: header lines as they came, and the body. */
internal class Received(val status: Int, val headers: List<Pair<String, String>>, val body: ByteArray)

/** `json`, `text` or `base64` is the body. With `json` comes its media type, unless `headers` has one. */
internal fun readAnswer(fields: Fields): Received {
    val status = fields.needLong("status").toInt()
    val headers = readLines(fields.take("headers")).toMutableList()
    val bodies = fields.some("json", "text", "base64")
    if (bodies.size > 1) throw Problem("  an answer has one of `json`, `text` and `base64`")
    val body = when (val kind = bodies.keys.singleOrNull()) {
        "json" -> {
            if (headers.none { it.first.equals("content-type", ignoreCase = true) }) headers += "content-type" to "application/json"
            bodies.getValue(kind).ascii().toByteArray()
        }
        "base64" -> Base64.getDecoder().decode(bodies.getValue(kind).asText())
        "text" -> (bodies.getValue(kind).asText() ?: throw Problem("  `text` must be a text")).toByteArray()
        else -> ByteArray(0)
    }
    return Received(status, headers, body)
}

/** Header lines: an object, or a list of pairs. */
internal fun readLines(lines: JsonElement?): List<Pair<String, String>> = when (lines) {
    null -> emptyList()
    is JsonObject -> lines.map { (name, value) -> name to (value.asText() ?: throw Problem("  the header `$name` must be a text")) }
    is JsonArray -> lines.map { line -> texts(line).let { (name, value) -> name to value } }
    else -> throw Problem("  `headers` must be an object or a list of pairs")
}

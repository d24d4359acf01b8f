package dev.remint.vectors

import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import java.security.MessageDigest
import java.util.Base64

/** What is kept from one step for a later one. */
internal class Kept {
    private val values = LinkedHashMap<String, String>()

    fun keep(keep: JsonElement, outcome: JsonObject) {
        for ((name, pointer) in keep as? JsonObject ?: throw Problem("  `keep` must be an object")) {
            val (path, field) = (pointer.asText() ?: throw Problem("  `$name` of `keep` must be a text")).split('?', limit = 2).let { it[0] to it.getOrNull(1) }
            val text = path.removePrefix("/").split('/').fold<String, JsonElement?>(outcome) { found, part ->
                when (found) {
                    is JsonArray -> part.toIntOrNull()?.let(found::getOrNull)
                    is JsonObject -> found[part]
                    else -> null
                }
            }.asText() ?: throw Problem("  nothing to keep at `$path` in $outcome")
            values[name] = when (field) {
                null -> text
                else -> formFields(text.substringAfter('?')).toMap()[field] ?: throw Problem("  `$name`: no such field")
            }
        }
    }

    /** Puts what was kept in the place of `{name}`. */
    fun fill(value: JsonElement): JsonElement = when (value) {
        is JsonArray -> JsonArray(value.map(::fill))
        is JsonObject -> JsonObject(value.mapValues { fill(it.value) })
        is JsonPrimitive -> value.asText()?.let { text -> JsonPrimitive(values.entries.fold(text) { filled, (name, kept) -> filled.replace("{$name}", kept) }) } ?: value
    }

    fun check(checks: JsonElement) {
        for (check in checks as? JsonArray ?: throw Problem("  `check` must be a list")) {
            val fields = Fields("a check", check)
            val name = fields.needText("value")
            val value = get(name)
            (fields.take("length") as? JsonArray)?.let { length ->
                val (least, most) = length.map { it.asLong() ?: throw Problem("  `length` must be two integers") }
                if (value.length !in least..most) throw Problem("  `$name` has ${value.length} characters")
            }
            fields.text("alphabet")?.let { alphabet ->
                val characters = ALPHABETS[alphabet] ?: throw Problem("  the alphabet `$alphabet` is not understood")
                if (!value.all(characters::contains)) throw Problem("  `$name` leaves its alphabet, $alphabet")
            }
            fields.text("s256_of")?.let { if (value != s256(get(it))) throw Problem("  `$name` is not the S256 challenge of `$it`") }
            fields.text("differs_from")?.let { if (value == get(it)) throw Problem("  `$name` and `$it` are the same") }
            fields.text("same_as")?.let { if (value != get(it)) throw Problem("  `$name` and `$it` are not the same") }
            fields.text("without")?.let { if (it in value) throw Problem("  `$name` contains `$it`") }
            fields.end()
        }
    }

    private fun get(name: String): String = values[name] ?: throw Problem("  nothing was kept as `$name`")
}

private fun s256(text: String): String =
    Base64.getUrlEncoder().withoutPadding().encodeToString(MessageDigest.getInstance("SHA-256").digest(text.toByteArray()))

private val ALPHANUMERIC = (('A'..'Z') + ('a'..'z') + ('0'..'9')).toSet()
private val ALPHABETS = mapOf(
    "vschar" to (' '..'~').toSet(),
    "unreserved" to ALPHANUMERIC + "-._~".toSet(),
    "base64url" to ALPHANUMERIC + "-_".toSet(),
)

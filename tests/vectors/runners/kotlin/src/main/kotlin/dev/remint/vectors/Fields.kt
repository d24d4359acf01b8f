package dev.remint.vectors

import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.booleanOrNull
import kotlinx.serialization.json.longOrNull

/** The members of an object, taken out one by one so that none is passed over. `null` stands for an absent one. */
internal class Fields(private val what: String, value: JsonElement?) {
    private val left = LinkedHashMap(value as? JsonObject ?: throw Problem("  $what must be an object"))

    fun take(name: String): JsonElement? = left.remove(name).takeUnless { it is JsonNull }

    /** Those of [names] that are there. */
    fun some(vararg names: String): JsonObject =
        JsonObject(names.filter(left::containsKey).associateWith { left.getValue(it) }.also { left.keys -= it.keys })

    fun text(name: String): String? = take(name)?.let { it.asText() ?: wrong(name, "a text") }

    fun long(name: String): Long? = take(name)?.let { it.asLong() ?: wrong(name, "an integer") }

    fun flag(name: String): Boolean? = take(name)?.let { (it as? JsonPrimitive)?.takeUnless { it.isString }?.booleanOrNull ?: wrong(name, "true or false") }

    fun texts(name: String): List<String>? =
        take(name)?.let { list -> (list as? JsonArray)?.map { it.asText() ?: wrong(name, "a list of texts") } ?: wrong(name, "a list of texts") }

    fun needText(name: String): String = text(name) ?: wrong(name, "a text")

    fun needLong(name: String): Long = long(name) ?: wrong(name, "an integer")

    fun end() {
        left.keys.firstOrNull()?.let { throw Problem("  `$it` of $what is not understood") }
    }

    private fun wrong(name: String, expected: String): Nothing = throw Problem("  `$name` of $what must be $expected")
}

internal fun JsonElement?.asText(): String? = (this as? JsonPrimitive)?.takeIf { it.isString }?.content

internal fun JsonElement?.asLong(): Long? = (this as? JsonPrimitive)?.takeUnless { it.isString }?.longOrNull

/** As JSON in ASCII, so that half a surrogate pair outlives the way through bytes. */
internal fun JsonElement.ascii(): String =
    buildString {
        for (char in this@ascii.toString()) if (char.code < 0x80) append(char) else append("\\u%04x".format(char.code))
    }

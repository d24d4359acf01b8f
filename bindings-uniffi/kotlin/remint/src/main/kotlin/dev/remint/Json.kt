package dev.remint

import java.math.BigDecimal
import java.time.Duration

/** [value] as JSON text (RFC 8259). What JSON does not have is refused, by the name of the [option] whose value it is. */
internal fun toJson(option: String, value: Any?): String = JsonWriter(option).apply { write(value, 0) }.toString()

private class JsonWriter(private val option: String) {
    private val text = StringBuilder()

    fun write(value: Any?, depth: Int) {
        if (depth > MAX_DEPTH) throw misuse("the option `$option` is nested too deeply: see whether it refers to itself")
        when (value) {
            null, is Boolean, is Byte, is Short, is Int, is Long -> text.append(value)
            is Number -> number(value)
            // Options take seconds. As a decimal, so that nothing is rounded.
            is Duration -> number(BigDecimal.valueOf(value.seconds).add(BigDecimal.valueOf(value.nano.toLong(), NANO_DIGITS)))
            is CharSequence -> quote(value)
            is Iterable<*> -> list('[', value, ']') { write(it, depth + 1) }
            is Array<*> -> write(value.asList(), depth)
            is Map<*, *> -> list('{', value.entries, '}') { (name, member) ->
                quote(name as? CharSequence ?: throw misuse("the option `$option` has a name that is no text"))
                text.append(':')
                write(member, depth + 1)
            }
            else -> throw misuse("the option `$option` holds a ${value.javaClass.simpleName}: give texts, numbers, booleans, lists and maps")
        }
    }

    override fun toString(): String = text.toString()

    private fun number(value: Number) {
        val decimal = value.toString().toBigDecimalOrNull() ?: throw misuse("the option `$option` is not a finite number")
        text.append(decimal.stripTrailingZeros().toPlainString())
    }

    private inline fun <T> list(open: Char, members: Iterable<T>, close: Char, write: (T) -> Unit) {
        text.append(open)
        for ((index, member) in members.withIndex()) {
            if (index > 0) text.append(',')
            write(member)
        }
        text.append(close)
    }

    private fun quote(characters: CharSequence) {
        if (!Charsets.UTF_8.newEncoder().canEncode(characters)) throw misuse("the option `$option` holds half a character: see where it was cut")
        text.append('"')
        for (character in characters) {
            when {
                character == '"' || character == '\\' -> text.append('\\').append(character)
                character < ' ' -> text.append("\\u00").append(character.code.toString(HEXADECIMAL).padStart(2, '0'))
                else -> text.append(character)
            }
        }
        text.append('"')
    }

    private companion object {
        const val MAX_DEPTH = 64
        const val NANO_DIGITS = 9
        const val HEXADECIMAL = 16
    }
}

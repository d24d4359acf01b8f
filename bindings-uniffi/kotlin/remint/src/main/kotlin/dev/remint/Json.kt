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

/**
 * What a JSON text (RFC 8259) says: maps, lists, texts, booleans, null, and numbers as [Long], or [BigDecimal] where that is too narrow.
 *
 * @throws IllegalArgumentException if it is no JSON
 */
internal fun fromJson(text: String): Any? = JsonReader(text).read()

private class JsonReader(private val text: String) {
    private var at = 0

    fun read(): Any? = value(0).also { require(next() == null) }

    private fun value(depth: Int): Any? {
        require(depth <= MAX_DEPTH)
        return when (next()) {
            '{' -> buildMap {
                each('}') {
                    val name = quoted()
                    require(next() == ':')
                    at++
                    put(name, value(depth + 1))
                }
            }
            '[' -> buildList { each(']') { add(value(depth + 1)) } }
            '"' -> quoted()
            else -> word()
        }
    }

    /** Reads what is between the brackets, one [read] for each comma and one more. */
    private fun each(close: Char, read: () -> Unit) {
        at++
        if (next() == close) {
            at++
            return
        }
        while (true) {
            read()
            val mark = next()
            at++
            if (mark == close) return
            require(mark == ',')
        }
    }

    private fun quoted(): String {
        require(next() == '"')
        at++
        return buildString {
            while (true) {
                val character = take()
                when {
                    character == '"' -> return@buildString
                    character == '\\' -> append(escaped())
                    else -> append(character.also { require(it >= ' ') })
                }
            }
        }
    }

    private fun escaped(): Char = when (val character = take()) {
        'u' -> {
            require(at + UNICODE_DIGITS <= text.length)
            text.substring(at, at + UNICODE_DIGITS).toInt(HEXADECIMAL).toChar().also { at += UNICODE_DIGITS }
        }
        else -> ESCAPES[character] ?: throw IllegalArgumentException()
    }

    private fun word(): Any? {
        val word = text.substring(at).takeWhile { it.isLetterOrDigit() || it in "+-." }
        at += word.length
        return when (word) {
            "true" -> true
            "false" -> false
            "null" -> null
            else -> word.toLongOrNull() ?: word.toBigDecimal()
        }
    }

    private fun take(): Char {
        require(at < text.length)
        return text[at++]
    }

    /** The next character that is no white space; null at the end. */
    private fun next(): Char? {
        while (at < text.length && text[at] in " \t\r\n") at++
        return text.getOrNull(at)
    }

    private companion object {
        const val MAX_DEPTH = 64
        const val UNICODE_DIGITS = 4
        const val HEXADECIMAL = 16
        val ESCAPES = mapOf('"' to '"', '\\' to '\\', '/' to '/', 'b' to '\b', 'f' to '\u000c', 'n' to '\n', 'r' to '\r', 't' to '\t')
    }
}

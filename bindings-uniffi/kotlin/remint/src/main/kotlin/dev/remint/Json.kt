package dev.remint

/** [value] as JSON text (RFC 8259), or an exception that names [option], whose value it is. */
internal fun toJson(option: String, value: Any?): String = StringBuilder().also { write(it, option, value) }.toString()

private fun write(to: StringBuilder, option: String, value: Any?) {
    when (value) {
        null, is Boolean, is Byte, is Short, is Int, is Long -> to.append(value)
        is Float, is Double -> {
            if (!(value as Number).toDouble().isFinite()) throw misuse("the option `$option` is not a finite number")
            to.append(value)
        }
        is java.time.Duration -> to.append(toSeconds(value))
        is CharSequence -> writeText(to, option, value)
        is Iterable<*> -> writeAll(to, '[', value, ']') { write(to, option, it) }
        is Array<*> -> write(to, option, value.asList())
        is Map<*, *> -> writeAll(to, '{', value.entries, '}') { (name, member) ->
            writeText(to, option, name as? String ?: throw misuse("the option `$option` has a name that is no text"))
            write(to.append(':'), option, member)
        }
        else -> throw misuse("the option `$option` is a ${value.javaClass.simpleName}: give a value that JSON has")
    }
}

private inline fun <T> writeAll(to: StringBuilder, open: Char, values: Iterable<T>, close: Char, write: (T) -> Unit) {
    to.append(open)
    values.forEachIndexed { index, value ->
        if (index > 0) to.append(',')
        write(value)
    }
    to.append(close)
}

private fun writeText(to: StringBuilder, option: String, text: CharSequence) {
    to.append('"')
    for (index in text.indices) {
        val character = text[index]
        when {
            character == '"' || character == '\\' -> to.append('\\').append(character)
            character < ' ' -> to.append("\\u%04x".format(character.code))
            character.isSurrogate() && !isPaired(text, index) -> throw misuse("the option `$option` holds half a character: see where it was cut")
            else -> to.append(character)
        }
    }
    to.append('"')
}

private fun isPaired(text: CharSequence, index: Int): Boolean =
    if (text[index].isHighSurrogate()) index + 1 < text.length && text[index + 1].isLowSurrogate() else index > 0 && text[index - 1].isHighSurrogate()

/** Options take seconds. A decimal, so that no rounding is in it. */
private fun toSeconds(duration: java.time.Duration): String =
    java.math.BigDecimal.valueOf(duration.seconds).add(java.math.BigDecimal.valueOf(duration.nano.toLong(), 9)).stripTrailingZeros().toPlainString()

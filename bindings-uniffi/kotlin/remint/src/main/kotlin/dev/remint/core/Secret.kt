package dev.remint.core

/**
 * A token, credential, code or refresh token. Printing it shows nothing of it.
 *
 * Not covered by semantic versioning.
 */
public class Secret(
    // Transient, so that what reads fields by reflection leaves it out.
    @Transient private val text: String,
) {
    /** The secret itself. */
    public fun expose(): String = text

    override fun equals(other: Any?): Boolean = other is Secret && text == other.text

    override fun hashCode(): Int = text.hashCode()

    override fun toString(): String = "<redacted>"
}

/**
 * A body that may hold a [Secret]. Printing it shows nothing of it.
 *
 * Not covered by semantic versioning.
 */
public class SecretBytes(
    @Transient private val bytes: ByteArray,
) {
    /** The bytes themselves, not a copy. */
    public fun expose(): ByteArray = bytes

    override fun equals(other: Any?): Boolean = other is SecretBytes && bytes.contentEquals(other.bytes)

    override fun hashCode(): Int = bytes.contentHashCode()

    override fun toString(): String = "<redacted>"
}

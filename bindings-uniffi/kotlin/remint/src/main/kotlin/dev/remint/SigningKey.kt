package dev.remint

import java.io.ByteArrayOutputStream
import java.security.GeneralSecurityException
import java.security.KeyFactory
import java.security.MessageDigest
import java.security.PrivateKey
import java.security.Signature
import java.security.interfaces.ECKey
import java.security.interfaces.RSAKey
import java.security.spec.MGF1ParameterSpec
import java.security.spec.PKCS8EncodedKeySpec
import java.security.spec.PSSParameterSpec
import java.util.Base64

/**
 * A key that the client signs with, in place of a secret (`private_key_jwt`, RFC 7523 section 2.2).
 *
 * The signing is Java's own, or a function of yours: a KMS, an HSM, an enclave.
 */
public class SigningKey private constructor(
    internal val name: String,
    internal val algorithm: String,
    internal val keyId: String?,
    internal val signer: Signer,
) {
    override fun toString(): String = "SigningKey($algorithm, redacted)"

    internal fun told(): Map<String, String> = buildMap {
        put("name", name)
        put("alg", algorithm)
        if (keyId != null) put("kid", keyId)
    }

    public companion object {
        /**
         * A key of Java's, from a `KeyStore` or a PKCS #11 provider for example.
         *
         * @param key of the kind P-256, P-384, Ed25519 or RSA with 2048 bits or more
         * @param algorithm `ES256`, `ES384`, `EdDSA`, `RS256` or `PS256`: an elliptic curve leaves no choice, an RSA key does
         * @param keyId what the server knows the key by (`kid`, RFC 7515 section 4.1.4)
         * @param name tells this key's tokens from another's; needed where the key cannot be looked into
         * @throws UsageException if the key does not fit the algorithm, or is weak
         */
        @JvmStatic
        @JvmOverloads
        public fun of(key: PrivateKey, algorithm: String? = null, keyId: String? = null, name: String? = null): SigningKey {
            val fitting = fitting(key)
            if (algorithm == null && fitting.size > 1) throw misuse("`algorithm` is missing: an RSA key can sign with ${fitting.joinToString(" and ")}")
            if (algorithm != null && algorithm !in fitting) {
                throw misuse("`algorithm` is `$algorithm`, but the key is of the kind `${key.algorithm}`: use ${fitting.joinToString(" or ")}")
            }
            val known = name ?: keyId ?: fingerprint(key)
            val chosen = algorithm ?: fitting.first()
            return SigningKey(known, chosen, keyId) { input, _ -> sign(key, chosen, input) }
        }

        /**
         * A key in PEM: PKCS #8, SEC 1 or PKCS #1, without a password.
         *
         * @throws UsageException if [pem] is no such key, or does not fit [algorithm]
         */
        @JvmStatic
        @JvmOverloads
        public fun pem(pem: String, algorithm: String? = null, keyId: String? = null): SigningKey = of(privateKey(pem), algorithm, keyId)

        /**
         * A key held elsewhere.
         *
         * @param name tells this key's tokens from another's: the key's id or version there
         * @param signer gives the raw signature of its input: for ECDSA r and s (RFC 7518 section 3.4), not DER
         */
        @JvmStatic
        @JvmOverloads
        public fun remote(name: String, algorithm: String, keyId: String? = null, signer: Signer): SigningKey =
            SigningKey(name, algorithm, keyId, signer)
    }

    /** Signs with a key held elsewhere. It runs on the client's executor and may block. */
    public fun interface Signer {
        /** The raw signature of [input] by a JOSE [algorithm] (RFC 7518 section 3.1). */
        public fun sign(input: ByteArray, algorithm: String): ByteArray
    }
}

private fun fitting(key: PrivateKey): List<String> {
    val bits = (key as? RSAKey)?.modulus?.bitLength()
    val order = (key as? ECKey)?.params?.order?.bitLength()
    return when {
        bits != null && bits < 2048 -> throw misuse("the key is an RSA key of $bits bits: use one of 2048 or more")
        bits != null || key.algorithm == "RSA" -> listOf("RS256", "PS256")
        key.algorithm == "RSASSA-PSS" -> listOf("PS256")
        order == 256 -> listOf("ES256")
        order == 384 -> listOf("ES384")
        key.algorithm in ED25519 -> listOf("EdDSA")
        else -> throw misuse("the key is of the kind `${key.algorithm}`, which is not supported: use P-256, P-384, Ed25519 or RSA")
    }
}

private fun sign(key: PrivateKey, algorithm: String, input: ByteArray): ByteArray {
    // JOSE wants r and s as they are (RFC 7518 section 3.4), which Java calls P1363.
    val signature = Signature.getInstance(JAVA_NAMES.getValue(algorithm))
    if (algorithm == "PS256") signature.setParameter(PSSParameterSpec("SHA-256", "MGF1", MGF1ParameterSpec.SHA256, 32, 1))
    signature.initSign(key)
    signature.update(input)
    return signature.sign()
}

/** Thirty-two bits tell two keys of one client apart, and are too few to confirm a guess by. */
private fun fingerprint(key: PrivateKey): String {
    val encoded = key.encoded ?: throw misuse("the key cannot be looked into: give it a `name` that tells it from others")
    return MessageDigest.getInstance("SHA-256").digest(encoded).take(4).joinToString("") { "%02x".format(it) }
}

private fun privateKey(pem: String): PrivateKey {
    val match = PEM.find(pem) ?: throw misuse("there is no private key in the PEM text: PKCS #8, SEC 1 or PKCS #1 without a password is allowed")
    val (label, text) = match.destructured
    try {
        val bytes = Base64.getMimeDecoder().decode(text)
        return when (label) {
            "RSA " -> KeyFactory.getInstance("RSA").generatePrivate(PKCS8EncodedKeySpec(der(0x30, VERSION, RSA_ENCRYPTION, der(0x04, bytes))))
            "EC " -> KeyFactory.getInstance("EC").generatePrivate(PKCS8EncodedKeySpec(der(0x30, VERSION, der(0x30, EC_PUBLIC_KEY, curve(bytes)), der(0x04, bytes))))
            else -> KINDS.firstNotNullOf { kind -> runCatching { KeyFactory.getInstance(kind).generatePrivate(PKCS8EncodedKeySpec(bytes)) }.getOrNull() }
        }
    } catch (refused: Exception) {
        // Its own text may hold a part of the key.
        if (refused is GeneralSecurityException || refused is IllegalArgumentException || refused is NoSuchElementException) {
            throw misuse("the private key in the PEM text cannot be read: P-256, P-384, Ed25519 and RSA are supported")
        }
        throw refused
    }
}

/** The curve that a SEC 1 key names (RFC 5915): the object identifier in its member `[0]`. */
private fun curve(bytes: ByteArray): ByteArray = CURVES.firstOrNull { curve -> bytes.indices.any { at -> at + curve.size <= bytes.size && bytes.copyOfRange(at, at + curve.size).contentEquals(curve) } }
    ?: throw IllegalArgumentException("another curve")

private fun der(tag: Int, vararg parts: ByteArray): ByteArray {
    val size = parts.sumOf { it.size }
    val out = ByteArrayOutputStream()
    out.write(tag)
    if (size < 0x80) {
        out.write(size)
    } else {
        val length = size.toBigInteger().toByteArray().dropWhile { it == 0.toByte() }
        out.write(0x80 or length.size)
        length.forEach { out.write(it.toInt()) }
    }
    parts.forEach(out::write)
    return out.toByteArray()
}

private fun hex(text: String): ByteArray = text.chunked(2).map { it.toInt(16).toByte() }.toByteArray()

private val ED25519 = setOf("Ed25519", "EdDSA")
private val JAVA_NAMES = mapOf(
    "ES256" to "SHA256withECDSAinP1363Format",
    "ES384" to "SHA384withECDSAinP1363Format",
    "EdDSA" to "Ed25519",
    "RS256" to "SHA256withRSA",
    "PS256" to "RSASSA-PSS",
)
private val KINDS = listOf("RSA", "EC", "Ed25519")
private val PEM = Regex("-----BEGIN ((?:RSA |EC )?)PRIVATE KEY-----([^-]+)-----END")
private val VERSION = hex("020100")
private val RSA_ENCRYPTION = hex("300d06092a864886f70d0101010500")
private val EC_PUBLIC_KEY = hex("06072a8648ce3d0201")
private val CURVES = listOf(hex("06082a8648ce3d030107"), hex("06052b81040022"))

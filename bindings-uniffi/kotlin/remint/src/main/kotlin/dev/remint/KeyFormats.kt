package dev.remint

import java.io.ByteArrayOutputStream
import java.math.BigInteger
import java.security.AlgorithmParameters
import java.security.GeneralSecurityException
import java.security.KeyFactory
import java.security.KeyPair
import java.security.KeyPairGenerator
import java.security.PrivateKey
import java.security.ProviderException
import java.security.PublicKey
import java.security.SecureRandom
import java.security.interfaces.ECPrivateKey
import java.security.interfaces.ECPublicKey
import java.security.interfaces.EdECPrivateKey
import java.security.interfaces.RSAPrivateCrtKey
import java.security.interfaces.RSAPublicKey
import java.security.spec.ECFieldFp
import java.security.spec.ECGenParameterSpec
import java.security.spec.ECParameterSpec
import java.security.spec.ECPoint
import java.security.spec.ECPrivateKeySpec
import java.security.spec.ECPublicKeySpec
import java.security.spec.NamedParameterSpec
import java.security.spec.PKCS8EncodedKeySpec
import java.security.spec.RSAPrivateCrtKeySpec
import java.security.spec.RSAPublicKeySpec
import java.security.spec.X509EncodedKeySpec
import java.util.Base64
import javax.crypto.KeyAgreement

// What keys are written as: PEM, JWK; and a private key's public one.

internal fun privateKeyOfPem(pem: String): PrivateKey {
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

/** The public key as JSON Web Key (RFC 7518 section 6, RFC 8037 section 2). */
internal fun jwkOf(key: PublicKey): Map<String, String> = when {
    key is RSAPublicKey -> mapOf("kty" to "RSA", "n" to base64(unsigned(key.modulus)), "e" to base64(unsigned(key.publicExponent)))
    key is ECPublicKey && key.params.curve.field.fieldSize in SIZES -> {
        val size = key.params.curve.field.fieldSize / 8
        mapOf("kty" to "EC", "crv" to "P-${size * 8}", "x" to base64(unsigned(key.w.affineX, size)), "y" to base64(unsigned(key.w.affineY, size)))
    }
    // What X.509 wraps is the point as RFC 8032 encodes it.
    key.algorithm in ED25519 && key.encoded != null -> mapOf("kty" to "OKP", "crv" to "Ed25519", "x" to base64(key.encoded.takeLast(32).toByteArray()))
    else -> throw misuse("the public key is of the kind `${key.algorithm}`, which is not supported: use P-256, P-384, Ed25519 or RSA")
}

/** The public key of a private one that can be looked into; else null. */
internal fun publicKeyOf(key: PrivateKey): PublicKey? = try {
    when {
        key is RSAPrivateCrtKey -> KeyFactory.getInstance("RSA").generatePublic(RSAPublicKeySpec(key.modulus, key.publicExponent))
        key is ECPrivateKey -> publicKeyOf(key)
        // By its name first: older Androids don't know the type.
        key.algorithm in ED25519 -> (key as? EdECPrivateKey)?.bytes?.map { ed25519(it).public }?.orElse(null)
        else -> null
    }
} catch (refused: Exception) {
    // A provider that keeps its keys to itself says so in either way.
    if (refused is GeneralSecurityException || refused is ProviderException) null else throw refused
}

/** Java multiplies points for a key agreement alone: that with the generator has the public point's x. Two points have it, one of which is the key. */
private fun publicKeyOf(key: ECPrivateKey): PublicKey? {
    val (params, factory) = key.params to KeyFactory.getInstance("EC")
    val prime = (params.curve.field as? ECFieldFp ?: return null).p
    val agreement = KeyAgreement.getInstance("ECDH")
    agreement.init(key)
    agreement.doPhase(factory.generatePublic(ECPublicKeySpec(params.generator, params)), true)
    val x = BigInteger(1, agreement.generateSecret())
    // Both primes are 3 modulo 4.
    val y = (x.pow(3) + params.curve.a * x + params.curve.b).modPow((prime + BigInteger.ONE).shiftRight(2), prime)
    return listOf(y, prime - y)
        .map { factory.generatePublic(ECPublicKeySpec(ECPoint(x, it), params)) }
        .firstOrNull { isPair(KeyPair(it, key)) }
}

/** The key pair of a seed (RFC 8032 section 5.1.5): what Java's generator makes of its random bytes. */
private fun ed25519(seed: ByteArray): KeyPair {
    require(seed.size == SEED)
    val given = object : SecureRandom() {
        override fun nextBytes(bytes: ByteArray) {
            seed.copyInto(bytes)
        }
    }
    return KeyPairGenerator.getInstance("Ed25519").apply { initialize(NamedParameterSpec.ED25519, given) }.generateKeyPair()
}

/** The texts among the members of a JSON Web Key. */
internal fun membersOfJwk(jwk: String): Map<String, String> = try {
    (fromJson(jwk) as Map<*, *>).entries.mapNotNull { (name, value) -> (value as? String)?.let { name as String to it } }.toMap()
} catch (refused: RuntimeException) {
    // Its own text may hold a part of the key.
    if (refused is IllegalArgumentException || refused is ClassCastException) throw misuse("the JWK is no JSON object")
    throw refused
}

/** The pair that a private JSON Web Key is (RFC 7518 section 6, RFC 8037 section 2). */
internal fun keyPairOfJwk(members: Map<String, String>): KeyPair = readingJwk {
    val jwk = Jwk(members)
    when (members["kty"]) {
        "RSA" -> {
            val private = jwk.run { RSAPrivateCrtKeySpec(number("n"), number("e"), number("d"), number("p"), number("q"), number("dp"), number("dq"), number("qi")) }
            KeyPair(publicKeyOfJwk(members), KeyFactory.getInstance("RSA").generatePrivate(private))
        }
        "EC" -> KeyPair(publicKeyOfJwk(members), KeyFactory.getInstance("EC").generatePrivate(ECPrivateKeySpec(jwk.number("d"), jwk.curve())))
        "OKP" -> ed25519(jwk.bytes("d")).also { require(jwkOf(it.public)["x"] == members["x"]) }
        else -> throw misuse("the JWK's `kty` is not supported: use EC (P-256, P-384), OKP (Ed25519) or RSA")
    }
}

/** The key that a public JSON Web Key is. */
internal fun publicKeyOfJwk(members: Map<String, String>): PublicKey = readingJwk {
    val jwk = Jwk(members)
    when (members["kty"]) {
        "RSA" -> KeyFactory.getInstance("RSA").generatePublic(RSAPublicKeySpec(jwk.number("n"), jwk.number("e")))
        "EC" -> KeyFactory.getInstance("EC").generatePublic(ECPublicKeySpec(ECPoint(jwk.number("x"), jwk.number("y")), jwk.curve()))
        // X.509 puts the same few bytes before each of them (RFC 8410 section 4).
        else -> KeyFactory.getInstance("Ed25519").generatePublic(X509EncodedKeySpec(ED25519_PREFIX + jwk.bytes("x")))
    }
}

private class Jwk(private val members: Map<String, String>) {
    fun bytes(name: String): ByteArray =
        Base64.getUrlDecoder().decode(members[name] ?: throw misuse("the JWK has no `$name`: a private key is needed, with all of its members"))

    fun number(name: String) = BigInteger(1, bytes(name))

    fun curve(): ECParameterSpec =
        AlgorithmParameters.getInstance("EC").apply { init(ECGenParameterSpec(requireNotNull(NAMES[members["crv"]]))) }.getParameterSpec(ECParameterSpec::class.java)
}

private inline fun <T> readingJwk(read: () -> T): T = try {
    read()
} catch (refused: Exception) {
    if (refused is GeneralSecurityException || refused is IllegalArgumentException) throw misuse("the JWK cannot be read: P-256, P-384, Ed25519 and RSA are supported")
    throw refused
}

/** Big-endian without a sign, as long as it is or filled up to [size]. */
private fun unsigned(number: BigInteger, size: Int = (number.bitLength() + 7) / 8): ByteArray {
    val bytes = number.toByteArray().dropWhile { it == 0.toByte() }
    return ByteArray(size - bytes.size) + bytes
}

internal fun base64(bytes: ByteArray): String = Base64.getUrlEncoder().withoutPadding().encodeToString(bytes)

private const val SEED = 32
private val ED25519_PREFIX = hex("302a300506032b6570032100")
private val SIZES = setOf(256, 384)
private val NAMES = mapOf("P-256" to "secp256r1", "P-384" to "secp384r1")
private val KINDS = listOf("RSA", "EC", "Ed25519")
private val PEM = Regex("-----BEGIN ((?:RSA |EC )?)PRIVATE KEY-----([^-]+)-----END")
private val VERSION = hex("020100")
private val RSA_ENCRYPTION = hex("300d06092a864886f70d0101010500")
private val EC_PUBLIC_KEY = hex("06072a8648ce3d0201")
private val CURVES = listOf(hex("06082a8648ce3d030107"), hex("06052b81040022"))

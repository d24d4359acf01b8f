package dev.remint

import java.security.GeneralSecurityException
import java.security.KeyPair
import java.security.KeyPairGenerator
import java.security.MessageDigest
import java.security.PrivateKey
import java.security.PublicKey
import java.security.Signature
import java.security.interfaces.ECKey
import java.security.interfaces.RSAKey
import java.security.spec.ECGenParameterSpec
import java.security.spec.MGF1ParameterSpec
import java.security.spec.PSSParameterSpec
import java.util.Base64

/**
 * A key that the client signs with: in place of a secret (`private_key_jwt`, RFC 7523 section 2.2), or to prove that a token is its own
 * (DPoP, RFC 9449).
 *
 * The signing is Java's own, or a function of yours: a KMS, an HSM, an enclave.
 */
public class SigningKey private constructor(
    internal val name: String,
    /** The algorithms that it is for, the one that is preferred first. */
    internal val algorithms: List<String>,
    internal val keyId: String?,
    /** The public key (RFC 7517), where it is known. */
    internal val jwk: Map<String, String>?,
    /** Whether it signs without waiting for anybody. */
    internal val isInMemory: Boolean,
    internal val signer: Signer,
) {
    /** The name as the key of `dpop`: one of its own, so that one key may be for both. */
    internal val dpopName: String = "dpop:$name"

    override fun toString(): String = "SigningKey(${algorithms.joinToString(" or ")}, redacted)"

    /** The option `signing_key`. */
    internal fun told(): Map<String, Any> = buildMap {
        put("name", name)
        put("alg", algorithms.singleOrNull() ?: algorithms)
        if (keyId != null) put("kid", keyId)
    }

    /** The option `dpop`. */
    internal fun toldAsDpop(required: Boolean): Map<String, Any> = mapOf(
        "name" to dpopName,
        "alg" to algorithms.first(),
        "jwk" to (jwk ?: throw misuse("each proof shows the public key of `dpop`, which is not known: make the key of a `KeyPair`, or give its `publicKey`")),
        "required" to required,
    )

    public companion object {
        /**
         * A key of Java's, from a `KeyStore` or a PKCS #11 provider for example.
         *
         * @param key of the kind P-256, P-384, Ed25519 or RSA with 2048 bits or more
         * @param algorithm `ES256`, `ES384`, `EdDSA`, `RS256` or `PS256`. An elliptic curve leaves no choice; for an RSA key the server's
         *   metadata choose unless given
         * @param keyId what the server knows the key by (`kid`, RFC 7515 section 4.1.4)
         * @param name tells this key's tokens from another's; needed where the key cannot be looked into
         * @throws UsageException if the key does not fit the algorithm, or is weak
         */
        @JvmStatic
        @JvmOverloads
        public fun of(key: PrivateKey, algorithm: String? = null, keyId: String? = null, name: String? = null): SigningKey =
            make(key, publicKeyOf(key), algorithm, keyId, name)

        /**
         * The same with the public key, which need not be guessed then: a PKCS #11 provider shows nothing else of a key, and the proofs of
         * `dpop` carry it.
         *
         * @throws UsageException if the two are no pair, the key does not fit the algorithm, or is weak
         */
        @JvmStatic
        @JvmOverloads
        public fun of(keyPair: KeyPair, algorithm: String? = null, keyId: String? = null, name: String? = null): SigningKey {
            val key = make(keyPair.private, keyPair.public, algorithm, keyId, name)
            if (!isPair(keyPair)) throw misuse("the public key does not belong to the private key: see where they come from")
            return key
        }

        /**
         * A key in PEM: PKCS #8, SEC 1 or PKCS #1, without a password.
         *
         * @throws UsageException if [pem] is no such key, or does not fit [algorithm]
         */
        @JvmStatic
        @JvmOverloads
        public fun pem(pem: String, algorithm: String? = null, keyId: String? = null): SigningKey = of(privateKeyOfPem(pem), algorithm, keyId)

        /**
         * A private key as a JSON Web Key (RFC 7517). Its `alg` and `kid` count unless others are given.
         *
         * @throws UsageException if [jwk] is no such key, or does not fit [algorithm]
         */
        @JvmStatic
        @JvmOverloads
        public fun jwk(jwk: String, algorithm: String? = null, keyId: String? = null): SigningKey {
            val members = membersOfJwk(jwk)
            return of(keyPairOfJwk(members), algorithm ?: members["alg"], keyId ?: members["kid"])
        }

        /**
         * A key held elsewhere.
         *
         * @param name tells this key's tokens from another's: the key's id or version there
         * @param publicKey its public key, which the proofs of `dpop` carry; needed for nothing else
         * @param signer gives the raw signature of its input: for ECDSA r and s (RFC 7518 section 3.4), not DER
         */
        @JvmStatic
        @JvmOverloads
        public fun remote(name: String, algorithm: String, keyId: String? = null, publicKey: PublicKey? = null, signer: Signer): SigningKey =
            SigningKey(name, listOf(algorithm), keyId, publicKey?.let(::jwkOf), isInMemory = false, signer)

        /**
         * A new key pair, which Java's own means export and import: `KeyStore`, `getEncoded()`.
         *
         * @param algorithm `ES256`, `ES384`, `EdDSA`, `RS256` or `PS256`; the last two give an RSA key of 3072 bits
         */
        @JvmStatic
        @JvmOverloads
        public fun generateKey(algorithm: String = "ES256"): KeyPair = when (algorithm) {
            "ES256", "ES384" -> KeyPairGenerator.getInstance("EC").apply { initialize(ECGenParameterSpec("secp${algorithm.drop(2)}r1")) }
            "EdDSA" -> KeyPairGenerator.getInstance("Ed25519")
            "RS256", "PS256" -> KeyPairGenerator.getInstance("RSA").apply { initialize(RSA_BITS) }
            else -> throw misuse("`algorithm` is `$algorithm`, which is not known: use ${JAVA_NAMES.keys.joinToString()}")
        }.generateKeyPair()

        private fun make(key: PrivateKey, publicKey: PublicKey?, algorithm: String?, keyId: String?, name: String?): SigningKey {
            val fitting = fitting(key, publicKey, algorithm)
            if (algorithm != null && algorithm !in fitting) {
                throw misuse("`algorithm` is `$algorithm`, but the key is of the kind `${key.algorithm}`: use ${fitting.joinToString(" or ")}")
            }
            val known = name ?: keyId ?: fingerprint(publicKey?.encoded ?: key.encoded)
            val isInMemory = key.encoded != null
            return SigningKey(known, algorithm?.let(::listOf) ?: fitting, keyId, publicKey?.let(::jwkOf), isInMemory) { input, chosen -> sign(key, chosen, input) }
        }
    }

    /** Signs with a key held elsewhere. It runs on the client's executor and may block. */
    public fun interface Signer {
        /** The raw signature of [input] by a JOSE [algorithm] (RFC 7518 section 3.1). */
        public fun sign(input: ByteArray, algorithm: String): ByteArray
    }
}

/** The keys that a client signs with, by the names that the core has for them. */
internal class Keys(signingKey: SigningKey?, dpop: SigningKey?, val isDpopRequired: Boolean) {
    @Volatile private var byName = named(signingKey, dpop)

    fun named(name: String): SigningKey? = byName[name]

    /** What comes to be in use; the last few that were are kept for what is under way. */
    @Synchronized fun add(signingKey: SigningKey?, dpop: SigningKey?) {
        val new = named(signingKey, dpop)
        byName = new + (byName - new.keys).entries.take(KEPT_KEYS).associate { it.toPair() }
    }

    private fun named(signingKey: SigningKey?, dpop: SigningKey?) = listOfNotNull(signingKey?.let { it.name to it }, dpop?.let { it.dpopName to it }).toMap()

    private companion object {
        const val KEPT_KEYS = 8
    }
}

private fun fitting(key: PrivateKey, publicKey: PublicKey?, algorithm: String?): List<String> {
    // A key that stays in its token shows no more than its kind.
    val bits = (key as? RSAKey ?: publicKey as? RSAKey)?.modulus?.bitLength()
    val order = (key as? ECKey ?: publicKey as? ECKey)?.params?.order?.bitLength()
    return when {
        bits != null && bits < WEAKEST_RSA -> throw misuse("the key is an RSA key of $bits bits: use one of $WEAKEST_RSA or more")
        key.algorithm == "RSASSA-PSS" -> listOf("PS256")
        bits != null || key.algorithm == "RSA" -> listOf("PS256", "RS256")
        order == 256 -> listOf("ES256")
        order == 384 -> listOf("ES384")
        order == null && key.algorithm == "EC" && algorithm == null ->
            throw misuse("the key cannot be looked into: give its `algorithm`, or a `KeyPair`")
        order == null && key.algorithm == "EC" -> listOf("ES256", "ES384")
        key.algorithm in ED25519 -> listOf("EdDSA")
        else -> throw misuse("the key is of the kind `${key.algorithm}`, which is not supported: use P-256, P-384, Ed25519 or RSA")
    }
}

private fun sign(key: PrivateKey, algorithm: String, input: ByteArray): ByteArray {
    val signature = signature(algorithm)
    signature.initSign(key)
    // Only now is it known whose provider the key belongs to.
    if (algorithm == "PS256") signature.setParameter(PSS)
    signature.update(input)
    return signature.sign()
}

/** Whether the one key verifies what the other has signed. Of a kind of key that nothing here signs with nobody knows. */
internal fun isPair(pair: KeyPair): Boolean {
    val algorithm = when (pair.private.algorithm) {
        "EC" -> "ES256"
        "RSA" -> "RS256"
        "RSASSA-PSS" -> "PS256"
        in ED25519 -> "EdDSA"
        else -> return true
    }
    return try {
        val signed = sign(pair.private, algorithm, PROBE)
        isSigned(pair.public, algorithm, PROBE, signed)
    } catch (_: GeneralSecurityException) {
        false
    }
}

/** Whether [signature], in base64url, is one over [input] of the public key that [jwk] is. What cannot be read is none. */
internal fun isSignature(jwk: String, algorithm: String, input: String, signature: String): Boolean = try {
    val members = membersOfJwk(jwk)
    // Java's verifiers take any curve and any size.
    val fits = KINDS_OF_JWK[algorithm] == listOfNotNull(members["kty"], members["crv"])
    val key = publicKeyOfJwk(members)
    val bytes = Base64.getUrlDecoder().decode(signature)
    fits && (key !is RSAKey || key.modulus.bitLength() >= WEAKEST_RSA) && isSigned(key, algorithm, input.toByteArray(), bytes)
} catch (refused: Exception) {
    if (refused is GeneralSecurityException || refused is IllegalArgumentException || refused is UsageException) false else throw refused
}

private fun isSigned(key: PublicKey, algorithm: String, input: ByteArray, bytes: ByteArray): Boolean = signature(algorithm).run {
    initVerify(key)
    if (algorithm == "PS256") setParameter(PSS)
    update(input)
    verify(bytes)
}

/** JOSE wants r and s as they are (RFC 7518 section 3.4), which Java calls P1363. */
private fun signature(algorithm: String): Signature = Signature.getInstance(JAVA_NAMES.getValue(algorithm))

/** Thirty-two bits tell two keys of one client apart, and are too few to confirm a guess by. */
private fun fingerprint(encoded: ByteArray?): String {
    if (encoded == null) throw misuse("the key cannot be looked into: give it a `name` that tells it from others")
    return MessageDigest.getInstance("SHA-256").digest(encoded).take(4).joinToString("") { "%02x".format(it) }
}

private const val RSA_BITS = 3072
private const val WEAKEST_RSA = 2048
private val PROBE = "remint".toByteArray()
private val PSS = PSSParameterSpec("SHA-256", "MGF1", MGF1ParameterSpec.SHA256, 32, 1)
internal val ED25519 = setOf("Ed25519", "EdDSA")
private val KINDS_OF_JWK = mapOf(
    "ES256" to listOf("EC", "P-256"),
    "ES384" to listOf("EC", "P-384"),
    "EdDSA" to listOf("OKP", "Ed25519"),
    "RS256" to listOf("RSA"),
    "PS256" to listOf("RSA"),
)
private val JAVA_NAMES = mapOf(
    "ES256" to "SHA256withECDSAinP1363Format",
    "ES384" to "SHA384withECDSAinP1363Format",
    "EdDSA" to "Ed25519",
    "RS256" to "SHA256withRSA",
    "PS256" to "RSASSA-PSS",
)

package dev.remint

import dev.remint.TestServer.Companion.completed
import dev.remint.TestServer.Companion.token
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertNotEquals
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.Timeout
import java.net.URLDecoder
import java.security.KeyPair
import java.security.KeyPairGenerator
import java.security.Signature
import java.security.spec.ECGenParameterSpec
import java.security.spec.MGF1ParameterSpec
import java.security.spec.PSSParameterSpec
import java.time.Duration
import java.util.Base64
import java.util.concurrent.CopyOnWriteArrayList

/** Keys for `private_key_jwt`: what is signed, by whom, and which keys are refused. */
@Timeout(60)
class SigningKeyTest {
    private val assertions = CopyOnWriteArrayList<String>()
    private val server = TestServer { request ->
        val form = request.body.orEmpty().decodeToString().split('&').associate {
            it.substringBefore('=') to URLDecoder.decode(it.substringAfter('='), "UTF-8")
        }
        assertEquals("urn:ietf:params:oauth:client-assertion-type:jwt-bearer", form["client_assertion_type"])
        assertions += form.getValue("client_assertion")
        completed(token("T${assertions.size}"))
    }

    private fun client(configure: Builder.() -> Unit) = Client(PROFILE, "someone") {
        http(server)
        configure()
    }

    private fun ByteArray?.orEmpty(): ByteArray = this ?: ByteArray(0)

    @Test
    fun `every algorithm signs what its public key verifies, anew for each request`() {
        for ((algorithm, pair) in listOf("ES256" to ec("secp256r1"), "ES384" to ec("secp384r1"), "EdDSA" to ed(), "RS256" to rsa(2048), "PS256" to rsa(2048))) {
            assertions.clear()
            client { signingKey(SigningKey.of(pair.private, algorithm, "k1"), "https://auth.example.com") }.use {
                it.tokenBlocking()
                it.tokenBlocking(force = true)
            }
            val (first, second) = assertions.map { it.split('.') }
            assertEquals("""{"alg":"$algorithm","typ":"client-authentication+jwt","kid":"k1"}""", decoded(first[0]).decodeToString())
            assertTrue(""""iss":"someone","sub":"someone","aud":"https://auth.example.com"""" in decoded(first[1]).decodeToString())
            assertNotEquals(first[1], second[1])
            assertTrue(verifies(algorithm, pair, "${first[0]}.${first[1]}", decoded(first[2])), algorithm)
        }
    }

    @Test
    fun `a signature of the server's is one of its key, its algorithm and its bytes, or none`() {
        val pairs = mapOf("ES256" to ec("secp256r1"), "ES384" to ec("secp384r1"), "EdDSA" to ed(), "RS256" to rsa(2048), "PS256" to rsa(2048))
        for ((algorithm, pair) in pairs) {
            val jwk = toJson("jwk", jwkOf(pair.public))
            val signature = Base64.getUrlEncoder().withoutPadding().encodeToString(SigningKey.of(pair).signer.sign("a.b".toByteArray(), algorithm))
            assertTrue(isSignature(jwk, algorithm, "a.b", signature), algorithm)
            assertFalse(isSignature(jwk, algorithm, "a.c", signature), algorithm)
            for (wrong in listOf("", "AAAA", "%", signature.dropLast(4), signature + "AAAA")) assertFalse(isSignature(jwk, algorithm, "a.b", wrong), "$algorithm $wrong")
            for ((other, key) in pairs) assertEquals(key === pair, isSignature(toJson("jwk", jwkOf(key.public)), algorithm, "a.b", signature), "$algorithm by $other")
            for (other in pairs.keys + "HS256" + "none") if (other != algorithm) assertFalse(isSignature(jwk, other, "a.b", signature), "$algorithm as $other")
        }
        val weak = rsa(1024)
        val signature = Signature.getInstance("SHA256withRSA").run { initSign(weak.private); update("a.b".toByteArray()); sign() }
        assertFalse(isSignature(toJson("jwk", jwkOf(weak.public)), "RS256", "a.b", Base64.getUrlEncoder().encodeToString(signature)))
        for (jwk in listOf("", "{}", "[]", """{"kty":"EC","crv":"P-256","x":"AA"}""")) assertFalse(isSignature(jwk, "ES256", "a.b", "AAAA"))
    }

    @Test
    fun `PEM is read in each of its forms`() {
        val (p256, p384, rsa) = listOf(ec("secp256r1"), ec("secp384r1"), rsa(2048))
        assertEquals("ES256", SigningKey.pem(pem("", p256.private.encoded)).algorithms.single())
        assertEquals("EdDSA", SigningKey.pem(pem("", ed().private.encoded)).algorithms.single())
        // What PKCS #8 wraps is the older form: the octets of its last member.
        assertEquals("RS256", SigningKey.pem(pem("RSA ", rsa.private.encoded.drop(26).toByteArray()), "RS256").algorithms.single())
        for (label in listOf("", "RSA ", "EC ")) {
            val refused = assertThrows(UsageException::class.java) { SigningKey.pem(pem(label, "canary".toByteArray()), "RS256") }
            assertEquals("invalid_option", refused.code)
            assertTrue("canary" !in refused.toString())
        }
        assertThrows(UsageException::class.java) { SigningKey.pem("no PEM at all") }
        assertEquals(384, (p384.private as java.security.interfaces.ECKey).params.order.bitLength())
    }

    @Test
    fun `a key held elsewhere signs through a function`() {
        val pair = ed()
        val remote = SigningKey.remote("kms/1", "EdDSA") { input, _ -> Signature.getInstance("Ed25519").run { initSign(pair.private); update(input); sign() } }
        client { signingKey(remote, "https://a") }.use { assertEquals("T1", it.tokenBlocking().accessToken) }
        val (header, claims, signature) = assertions.single().split('.')
        assertTrue(verifies("EdDSA", pair, "$header.$claims", decoded(signature)))
        assertEquals("SigningKey(EdDSA, redacted)", remote.toString())
    }

    @Test
    fun `a signer that fails is the cause of the error`() {
        val remote = SigningKey.remote("k", "ES256") { _, _ -> throw IllegalStateException("the HSM is locked") }
        client { signingKey(remote, "https://a") }.use {
            val failed = assertThrows(TransportException::class.java) { it.tokenBlocking(timeout = Duration.ofSeconds(30)) }
            assertEquals("host_error", failed.code)
            assertEquals("the HSM is locked", failed.cause?.message)
        }
    }

    @Test
    fun `an assertion from elsewhere is read again for each request`() {
        val texts = listOf("eyJhIjoxfQ.e30.c2ln", "eyJhIjoyfQ.e30.c2ln")
        client { clientAssertion { texts[assertions.size] } }.use {
            it.tokenBlocking()
            it.tokenBlocking(force = true)
        }
        assertEquals(texts, assertions)
    }

    @Test
    fun `what does not fit is refused before anything is sent`() {
        for ((words, make) in listOf<Pair<String, () -> SigningKey>>(
            "use ES256" to { SigningKey.of(ec("secp256r1").private, "RS256") },
            "1024 bits" to { SigningKey.of(rsa(1024).private, "RS256") },
            "not supported" to { SigningKey.of(ec("secp521r1").private) },
        )) {
            val refused = assertThrows(UsageException::class.java) { make() }
            assertTrue(words in refused.message.orEmpty(), refused.message)
        }
    }

    private fun ec(curve: String): KeyPair = KeyPairGenerator.getInstance("EC").apply { initialize(ECGenParameterSpec(curve)) }.generateKeyPair()

    private fun ed(): KeyPair = KeyPairGenerator.getInstance("Ed25519").generateKeyPair()

    private fun rsa(bits: Int): KeyPair = KeyPairGenerator.getInstance("RSA").apply { initialize(bits) }.generateKeyPair()

    private fun decoded(text: String): ByteArray = Base64.getUrlDecoder().decode(text)

    private fun pem(label: String, bytes: ByteArray): String =
        "-----BEGIN ${label}PRIVATE KEY-----\n${Base64.getMimeEncoder().encodeToString(bytes)}\n-----END ${label}PRIVATE KEY-----\n"

    private fun verifies(algorithm: String, pair: KeyPair, data: String, signature: ByteArray): Boolean {
        val name = mapOf("ES256" to "SHA256withECDSAinP1363Format", "ES384" to "SHA384withECDSAinP1363Format", "EdDSA" to "Ed25519", "RS256" to "SHA256withRSA", "PS256" to "RSASSA-PSS")
        return Signature.getInstance(name.getValue(algorithm)).run {
            if (algorithm == "PS256") setParameter(PSSParameterSpec("SHA-256", "MGF1", MGF1ParameterSpec.SHA256, 32, 1))
            initVerify(pair.public)
            update(data.toByteArray())
            verify(signature)
        }
    }

    private companion object {
        const val PROFILE = """{"name":"signed","title":"Signed","grants":["client_credentials"],"token":{"endpoint":"https://auth.example.com/token",
            "client_auth":["private_key_jwt"]},"api_origins":["https://api.example.com"]}"""
    }
}

package dev.remint

import dev.remint.TestServer.Companion.completed
import dev.remint.TestServer.Companion.json
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertNotEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.Timeout
import java.security.KeyPair
import java.security.KeyPairGenerator
import java.security.PrivateKey
import java.security.Signature
import java.security.interfaces.ECPublicKey
import java.security.spec.ECGenParameterSpec
import java.security.spec.MGF1ParameterSpec
import java.security.spec.PSSParameterSpec
import java.time.Duration
import java.util.Base64
import java.util.concurrent.CompletableFuture

/** Tokens that are bound to a key (DPoP, RFC 9449): the keys, and the proofs at the token endpoint and at APIs. */
@Timeout(60)
class PossessionTest {
    private val server = TestServer { completed(json(200, """{"access_token":"T1","token_type":"DPoP","expires_in":3600}""")) }

    private fun client(configure: Builder.() -> Unit) = Client(PROFILE, "someone", "s3cret") {
        http(server)
        configure()
    }

    private fun proofOf(headers: Map<String, String>): List<String> = headers.entries.single { it.key.equals("dpop", ignoreCase = true) }.value.split('.')

    private fun decoded(text: String) = Base64.getUrlDecoder().decode(text)

    @Suppress("UNCHECKED_CAST")
    private fun members(part: String) = fromJson(decoded(part).decodeToString()) as Map<String, Any?>

    private fun verifies(algorithm: String, pair: KeyPair, proof: List<String>): Boolean {
        val name = mapOf("ES256" to "SHA256withECDSAinP1363Format", "ES384" to "SHA384withECDSAinP1363Format", "EdDSA" to "Ed25519", "RS256" to "SHA256withRSA", "PS256" to "RSASSA-PSS")
        return Signature.getInstance(name.getValue(algorithm)).run {
            initVerify(pair.public)
            if (algorithm == "PS256") setParameter(PSSParameterSpec("SHA-256", "MGF1", MGF1ParameterSpec.SHA256, 32, 1))
            update("${proof[0]}.${proof[1]}".toByteArray())
            verify(decoded(proof[2]))
        }
    }

    @Test
    fun `every kind of key proves, and shows its public key alone`() {
        for (algorithm in listOf("ES256", "ES384", "EdDSA", "RS256", "PS256")) {
            val pair = SigningKey.generateKey(algorithm)
            val keys = listOf(
                SigningKey.of(pair, algorithm), SigningKey.of(pair.private, algorithm), SigningKey.pem(pem(pair.private), algorithm),
                SigningKey.remote("kms/1", algorithm, publicKey = pair.public) { input, alg -> SigningKey.of(pair).signer.sign(input, alg) },
            )
            for (key in keys) {
                server.requests.clear()
                val headers = client { dpop(key) }.use { it.headersBlocking("GET", "https://api.example.com/a?b=c") }
                assertEquals("DPoP T1", headers["Authorization"])
                val atTokenEndpoint = proofOf(server.requests.single().headers)
                val atApi = proofOf(headers)
                for ((proof, target) in listOf(atTokenEndpoint to "POST https://auth.example.com/token", atApi to "GET https://api.example.com/a")) {
                    assertEquals(target, members(proof[1]).run { "${this["htm"]} ${this["htu"]}" })
                    val jwk = members(proof[0])["jwk"] as Map<*, *>
                    assertEquals(jwkOf(pair.public), jwk)
                    assertTrue(verifies(algorithm, pair, proof), "$algorithm $key")
                }
                assertTrue("ath" in members(atApi[1]))
            }
        }
    }

    @Test
    fun `a key of its own is made where none is given, and every proof is new`() {
        client { dpop() }.use { client ->
            val proofs = List(2) { proofOf(client.headersBlocking("GET", "https://api.example.com/a")) }
            assertNotEquals(members(proofs[0][1])["jti"], members(proofs[1][1])["jti"])
            assertEquals("ES256", members(proofs[0][0])["alg"])
            assertEquals(1, server.count)
        }
    }

    @Test
    fun `a proof that an API wants with a nonce is made anew, once`() {
        client { dpop() }.use { client ->
            val call = ApiCall(client)
            val url = "https://api.example.com/a"
            fun answer(nonce: String) = call.answered(url, 401, mapOf("WWW-Authenticate" to listOf("""DPoP error="use_dpop_nonce""""), "DPoP-Nonce" to listOf(nonce)))
            call.attachBlocking("GET", url)
            assertTrue(answer("n1"))
            assertEquals("n1", members(proofOf(call.attachBlocking("GET", url))[1])["nonce"])
            assertFalse(answer("n2"))
            // Any answer may bring the next one.
            val next = ApiCall(client)
            assertEquals("n2", members(proofOf(next.attachBlocking("GET", url))[1])["nonce"])
            assertFalse(next.answered(url, 200, mapOf("dpop-nonce" to listOf("n3"))))
            assertEquals("n3", members(proofOf(client.headersBlocking("GET", url))[1])["nonce"])
            val token = client.tokenBlocking()
            assertTrue(client.rejectBlocking(token, "GET", url, 401, mapOf("www-authenticate" to listOf("""DPoP error="use_dpop_nonce""""), "dpop-nonce" to listOf("n4"))))
            assertEquals("n4", members(proofOf(client.headersBlocking("GET", url))[1])["nonce"])
        }
        assertEquals(1, server.count)
    }

    @Test
    fun `a redirect within the origin gets a proof of its own`() {
        client { dpop() }.use { client ->
            val call = ApiCall(client)
            call.attachBlocking("POST", "https://api.example.com/a")
            assertEquals("https://api.example.com/b", members(proofOf(call.attachHopBlocking("POST", "https://api.example.com/b"))[1])["htu"])
        }
    }

    @Test
    fun `an API that wants more of the person says what`() {
        client { dpop() }.use { client ->
            for (status in listOf(401, 403)) {
                val call = ApiCall(client)
                call.attachBlocking("GET", "https://api.example.com/a")
                val challenge = """DPoP error="insufficient_user_authentication", acr_values="gold silver", max_age="300""""
                val error = thrown<ServerException> { call.answered("https://api.example.com/a", status, mapOf("www-authenticate" to listOf(challenge))) }
                assertEquals(listOf("insufficient_user_authentication", status, "gold silver", Duration.ofMinutes(5)), listOf(error.code, error.status, error.acrValues, error.maxAge))
            }
        }
    }

    @Test
    fun `a signer that fails is the cause of the error`() {
        val pair = SigningKey.generateKey()
        val key = SigningKey.remote("k", "ES256", publicKey = pair.public) { _, _ -> throw IllegalStateException("the HSM is locked") }
        client { dpop(key) }.use {
            val failed = thrown<TransportException> { it.tokenBlocking(timeout = Duration.ofMillis(50)) }
            assertEquals("the HSM is locked", failed.cause?.message)
        }
    }

    @Test
    fun `one key may sign assertions and prove`() {
        val pair = SigningKey.generateKey("EdDSA")
        val profile = PROFILE.replace("client_secret_basic", "private_key_jwt")
        val client = Client(profile, "someone") {
            http(server)
            signingKey(SigningKey.of(pair), "https://auth.example.com")
            dpop(SigningKey.of(pair))
        }
        client.use { assertTrue(verifies("EdDSA", pair, proofOf(it.headersBlocking("GET", "https://api.example.com/a")))) }
        assertTrue("client_assertion=" in server.requests.single().body!!.decodeToString())
    }

    @Test
    fun `a key that is renewed takes over without a restart, and tokens of the one before are not used any more`() {
        val (before, after) = List(2) { SigningKey.generateKey() }
        client { dpop(SigningKey.of(before)) }.use { client ->
            assertTrue(verifies("ES256", before, proofOf(client.headersBlocking("GET", "https://api.example.com/a"))))
            client.renewBlocking(dpop = SigningKey.of(after))
            assertEquals(null, client.peek())
            assertTrue(verifies("ES256", after, proofOf(client.headersBlocking("GET", "https://api.example.com/a"))))
            assertEquals(2, server.count)
            client.renewAsync(dpop = SigningKey.of(before)).get()
            assertTrue(verifies("ES256", before, proofOf(client.headersBlocking("GET", "https://api.example.com/a"))))
            assertEquals("invalid_option", thrown<UsageException> { client.renewBlocking(dpop = SigningKey.remote("k", "ES256") { input, _ -> input }) }.code)
            assertTrue(verifies("ES256", before, proofOf(client.headersBlocking("GET", "https://api.example.com/a"))))
        }
        server.answer = { completed(TestServer.token("T1")) }
        client { dpop(SigningKey.of(before), required = false) }.use { client ->
            kotlinx.coroutines.runBlocking { client.renew(dpop = SigningKey.of(after)) }
            assertEquals("T1", client.tokenBlocking().accessToken)
        }
    }

    @Test
    fun `an assertion's key is renewed while tokens stay`() {
        val (before, after) = List(2) { SigningKey.generateKey() }
        val profile = PROFILE.replace("client_secret_basic", "private_key_jwt")
        Client(profile, "someone") { http(server); signingKey(SigningKey.of(before), "https://auth.example.com") }.use { client ->
            server.answer = { completed(TestServer.token("T1")) }
            client.tokenBlocking()
            client.renewBlocking(signingKey = SigningKey.of(after))
            assertEquals("T1", client.peek()?.accessToken)
            client.tokenBlocking(force = true)
            val assertions = server.requests.map { it.body!!.decodeToString().substringAfter("client_assertion=").substringBefore('&').split('.') }
            assertEquals(listOf(true, false), assertions.map { verifies("ES256", before, it) })
            assertTrue(verifies("ES256", after, assertions[1]))
        }
    }

    @Test
    fun `a private JWK is read, with its algorithm and name`() {
        val pair = SigningKey.generateKey("ES384")
        val d = Base64.getUrlEncoder().withoutPadding().encodeToString((pair.private as java.security.interfaces.ECPrivateKey).s.toByteArray())
        val public = jwkOf(pair.public).entries.joinToString("") { (name, value) -> """,${"\n"} "$name" : "$value"""" }
        val key = SigningKey.jwk("""{"kid":"k\u0031","alg":"ES384","key_ops":["sign"],"d":"$d"$public}""")
        assertEquals(listOf("k1", listOf("ES384")), listOf(key.keyId, key.algorithms))
        client { dpop(key) }.use { assertTrue(verifies("ES384", pair, proofOf(it.headersBlocking("GET", "https://api.example.com/a")))) }
        val seed = (SigningKey.generateKey("EdDSA").private as java.security.interfaces.EdECPrivateKey).bytes.get()
        val canary = Base64.getUrlEncoder().withoutPadding().encodeToString(seed)
        val other = jwkOf(SigningKey.generateKey("EdDSA").public)["x"]
        for (wrong in listOf(
            "canary", """["canary"]""", """{"kty":"EC","d":"canary"}""", """{"kty":"oct","k":"canary"}""", """{"kty":"OKP","crv":"Ed25519","d":"$canary","x":"$other"}""",
            """{"kty":"EC","crv":"P-521","d":"canary","x":"AA","y":"AA"}""", """{"kty":"EC","crv":"P-256","d":"$canary","x":"AA","y":"AA"}""", """{"kty":"RSA","n":"canary"}""", """{"a":"\ud83d""",
        )) {
            val refused = thrown<UsageException> { SigningKey.jwk(wrong) }
            assertEquals("invalid_option", refused.code)
            assertFalse("canary" in "$refused" || canary in "$refused", "$refused")
        }
    }

    @Test
    fun `the public key of every curve is found`() {
        for (algorithm in listOf("ES256", "ES384")) {
            repeat(20) {
                val pair = SigningKey.generateKey(algorithm)
                assertEquals((pair.public as ECPublicKey).w, (publicKeyOf(pair.private) as ECPublicKey).w)
            }
        }
        val pair = SigningKey.generateKey("EdDSA")
        assertEquals(pair.public, publicKeyOf(pair.private))
    }

    @Test
    fun `what cannot prove is refused when the client is made`() {
        val pair = SigningKey.generateKey()
        for ((words, make) in listOf<Pair<String, () -> Unit>>(
            "the public key of `dpop`, which is not known" to { client { dpop(SigningKey.remote("k", "ES256") { input, _ -> input }) } },
            "does not belong to the private key" to { SigningKey.of(KeyPair(SigningKey.generateKey().public, pair.private)) },
            "use ES256" to { SigningKey.of(pair, "PS256") },
            "which is not known" to { SigningKey.generateKey("HS256") },
            "use P-256" to { SigningKey.remote("k", "ES256", publicKey = ec521().public) { input, _ -> input } },
            "does not fit the algorithm" to { client { dpop(SigningKey.remote("k", "ES384", publicKey = pair.public) { input, _ -> input }) } },
        )) {
            val refused = thrown<UsageException> { make() }
            assertTrue(words in refused.message!!, refused.message)
        }
        assertEquals(0, server.count)
    }

    @Test
    fun `a token that the server did not bind is refused, unless that is permitted`() {
        server.answer = { completed(TestServer.token("T1")) }
        client { dpop() }.use { assertEquals("unsupported_token_type", thrown<ServerException> { it.tokenBlocking(timeout = Duration.ofMillis(50)) }.code) }
        client { dpop(required = false) }.use { assertEquals(mapOf("Authorization" to "Bearer T1"), it.headersBlocking("GET", "https://api.example.com/a")) }
    }

    @Test
    fun `a caller who leaves while a proof is signed leaves`() {
        val gate = CompletableFuture<ByteArray>()
        val pair = SigningKey.generateKey()
        val own = SigningKey.of(pair)
        var isHeld = false
        val key = SigningKey.remote("k", "ES256", publicKey = pair.public) { input, algorithm -> if (isHeld) gate.join() else own.signer.sign(input, algorithm) }
        client { dpop(key) }.use { client ->
            client.tokenBlocking()
            isHeld = true
            val headers = client.headersAsync("GET", "https://api.example.com/a")
            assertFalse(headers.isDone)
            headers.cancel(false)
            assertTrue(headers.isCancelled)
            gate.complete(ByteArray(64))
        }
    }

    private fun ec521() = KeyPairGenerator.getInstance("EC").apply { initialize(ECGenParameterSpec("secp521r1")) }.generateKeyPair()

    private fun pem(key: PrivateKey) = "-----BEGIN PRIVATE KEY-----\n${Base64.getMimeEncoder().encodeToString(key.encoded)}\n-----END PRIVATE KEY-----\n"

    private companion object {
        const val PROFILE = """{"name":"bound","title":"Bound","grants":["client_credentials"],"token":{"endpoint":"https://auth.example.com/token",
            "client_auth":["client_secret_basic"]},"api_origins":["https://api.example.com"]}"""
    }
}

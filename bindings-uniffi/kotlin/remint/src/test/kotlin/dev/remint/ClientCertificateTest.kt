package dev.remint

import com.sun.net.httpserver.HttpsConfigurator
import com.sun.net.httpserver.HttpsParameters
import com.sun.net.httpserver.HttpsServer
import dev.remint.TestServer.Companion.completed
import dev.remint.TestServer.Companion.token
import org.junit.jupiter.api.AfterEach
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.Timeout
import org.junit.jupiter.api.io.TempDir
import java.net.InetAddress
import java.net.InetSocketAddress
import java.net.Socket
import java.nio.file.Files
import java.nio.file.Path
import java.security.KeyStore
import java.security.MessageDigest
import java.security.PrivateKey
import java.security.cert.X509Certificate
import java.util.Base64
import java.util.concurrent.CopyOnWriteArrayList
import javax.net.ssl.KeyManagerFactory
import javax.net.ssl.SSLContext
import javax.net.ssl.SSLEngine
import javax.net.ssl.X509ExtendedTrustManager

/** The certificate that a client presents in TLS (RFC 8705). */
@Timeout(120)
class ClientCertificateTest {
    @TempDir
    lateinit var folder: Path

    private val seen = CopyOnWriteArrayList<X509Certificate>()
    private val server by lazy(::start)

    @AfterEach
    fun stop() = server.stop(0)

    private class Issued(val chain: List<X509Certificate>, val key: PrivateKey) {
        val certificatePem = chain.joinToString("\n", "subject=CN=x\n") { pem("CERTIFICATE", it.encoded) }
        val keyPem = pem("PRIVATE KEY", key.encoded)
        val tlsId = base64(MessageDigest.getInstance("SHA-256").digest(chain.first().encoded))

        private fun pem(label: String, bytes: ByteArray) = "-----BEGIN $label-----\n${Base64.getMimeEncoder().encodeToString(bytes)}\n-----END $label-----\n"
    }

    private fun issue(name: String, algorithm: String = "EC", options: List<String> = listOf("-groupname", "secp256r1")): Issued {
        val store = folder.resolve("$name.p12")
        val keytool = Path.of(System.getProperty("java.home"), "bin", "keytool").toString()
        val command = listOf(keytool, "-genkeypair", "-alias", "a", "-keyalg", algorithm) + options +
            listOf("-dname", "CN=$name", "-ext", "san=ip:127.0.0.1", "-storetype", "PKCS12", "-keystore", "$store", "-storepass", PASSWORD)
        check(ProcessBuilder(command).redirectErrorStream(true).redirectOutput(ProcessBuilder.Redirect.DISCARD).start().waitFor() == 0)
        val made = KeyStore.getInstance(store.toFile(), PASSWORD.toCharArray())
        return Issued(made.getCertificateChain("a").map { it as X509Certificate }, made.getKey("a", PASSWORD.toCharArray()) as PrivateKey)
    }

    /** Takes every certificate, and notes it. */
    private inner class Noting(private val notes: MutableList<X509Certificate>?) : X509ExtendedTrustManager() {
        private fun note(chain: Array<out X509Certificate>) {
            notes?.add(chain.first())
        }

        override fun checkClientTrusted(chain: Array<out X509Certificate>, authType: String) = note(chain)
        override fun checkClientTrusted(chain: Array<out X509Certificate>, authType: String, socket: Socket) = note(chain)
        override fun checkClientTrusted(chain: Array<out X509Certificate>, authType: String, engine: SSLEngine) = note(chain)
        override fun checkServerTrusted(chain: Array<out X509Certificate>, authType: String) = Unit
        override fun checkServerTrusted(chain: Array<out X509Certificate>, authType: String, socket: Socket) = Unit
        override fun checkServerTrusted(chain: Array<out X509Certificate>, authType: String, engine: SSLEngine) = Unit
        override fun getAcceptedIssuers(): Array<X509Certificate> = emptyArray()
    }

    private fun start(): HttpsServer {
        val own = issue("server")
        val store = KeyStore.getInstance("PKCS12").apply { load(null) }
        store.setKeyEntry("a", own.key, PASSWORD.toCharArray(), own.chain.toTypedArray())
        val keys = KeyManagerFactory.getInstance("PKIX").apply { init(store, PASSWORD.toCharArray()) }.keyManagers
        val context = SSLContext.getInstance("TLS").apply { init(keys, arrayOf(Noting(seen)), null) }
        return HttpsServer.create(InetSocketAddress(InetAddress.getByName("127.0.0.1"), 0), 0).apply {
            httpsConfigurator = object : HttpsConfigurator(context) {
                override fun configure(parameters: HttpsParameters) {
                    parameters.setSSLParameters(context.defaultSSLParameters.apply { needClientAuth = true })
                }
            }
            createContext("/") { exchange ->
                exchange.requestBody.readAllBytes()
                val body = """{"access_token":"T${seen.size}","token_type":"Bearer","expires_in":3600}""".toByteArray()
                exchange.responseHeaders.set("content-type", "application/json")
                exchange.sendResponseHeaders(200, body.size.toLong())
                exchange.responseBody.use { it.write(body) }
            }
            start()
        }
    }

    private fun client(configure: Builder.() -> Unit): Client {
        val profile = """{"name":"tls","title":"TLS","grants":["client_credentials"],"token":{"endpoint":"https://127.0.0.1:${server.address.port}/token",
            "client_auth":["tls_client_auth","self_signed_tls_client_auth"]},"api_origins":["https://api.example.com"]}"""
        return Client(profile, "someone") {
            trustManager(Noting(null))
            configure()
        }
    }

    @Test
    fun `the certificate takes a secret's place, in every form`() {
        val issued = issue("client")
        val (certificate, key) = folder.resolve("c.pem") to folder.resolve("k.pem")
        Files.writeString(certificate, issued.certificatePem)
        Files.writeString(key, issued.keyPem)
        val forms = listOf<Builder.() -> Unit>(
            { clientCertificate(certificate, key) },
            { clientCertificate(issued.certificatePem, issued.keyPem) },
            { clientCertificate(issued.chain, issued.key) },
        )
        for (form in forms) {
            client(form).use { it.tokenBlocking() }
            assertEquals(issued.chain.first(), seen.last())
        }
        val rsa = issue("rsa", "RSA", listOf("-keysize", "2048"))
        client { clientCertificate(rsa.chain, rsa.key) }.use { it.tokenBlocking() }
        assertEquals(rsa.chain.first(), seen.last())
        assertEquals(4, seen.size)
    }

    @Test
    fun `files that were replaced are taken up, on a connection of their own`() {
        val (first, second) = issue("first") to issue("second")
        val (certificate, key) = folder.resolve("c.pem") to folder.resolve("k.pem")
        Files.writeString(certificate, first.certificatePem)
        Files.writeString(key, first.keyPem)
        val bound = client { clientCertificate(certificate, key).variable("certificateBound", true) }
        bound.use { client ->
            client.tokenBlocking()
            client.tokenBlocking(force = true)
            assertEquals(listOf(first.chain.first()), seen.toList())
            // One half alone changes nothing yet.
            Files.writeString(certificate, second.certificatePem + "\n")
            client.tokenBlocking(force = true)
            assertEquals(1, seen.size)
            Files.writeString(key, second.keyPem + "\n")
            client.tokenBlocking(force = true)
            client.tokenBlocking(force = true)
            assertEquals(listOf(first, second).map { it.chain.first() }, seen.toList())
        }
    }

    @Test
    fun `a certificate that is held in objects can be renewed, on a connection of its own`() {
        val (first, second) = issue("first") to issue("second")
        client { clientCertificate(first.chain, first.key).variable("certificateBound", true) }.use { client ->
            client.tokenBlocking()
            assertEquals("invalid_option", thrown<UsageException> { client.renewBlocking(null, null, second.chain, first.key) }.code)
            assertEquals("invalid_option", thrown<UsageException> { client.renewBlocking(null, null, second.chain, null) }.code)
            assertEquals("T1", client.peek()?.accessToken)
            client.renewBlocking(null, null, second.chain, second.key)
            assertEquals(null, client.peek())
            client.tokenBlocking()
            assertEquals(listOf(first, second).map { it.chain.first() }, seen.toList())
        }
        val without = Client("phoenix-wallet", "id", "s3cret")
        assertEquals("invalid_option", thrown<UsageException> { without.renewBlocking(null, null, second.chain, second.key) }.code)
    }

    @Test
    fun `a transport of one's own hears which certificate is wanted`() {
        val issued = issue("client")
        val server = TestServer { completed(token("T1")) }
        val profile = """{"name":"tls","title":"TLS","grants":["client_credentials"],"token":{"endpoint":"https://auth.example.com/token",
            "client_auth":["tls_client_auth"]},"api_origins":["https://api.example.com"]}"""
        Client(profile, "someone") { http(server).clientCertificate(issued.chain.first()) }.use { it.tokenBlocking() }
        assertEquals(issued.tlsId, server.requests.single().tlsId)
    }

    @Test
    fun `what cannot be presented is refused when the client is made`() {
        val (one, other) = issue("one") to issue("other")
        for ((words, make) in listOf<Pair<String, () -> Unit>>(
            "does not belong to the certificate" to { client { clientCertificate(one.chain, other.key) } },
            "does not belong to the certificate" to { client { clientCertificate(one.certificatePem, other.keyPem) } },
            "`nowhere.pem`" to { client { clientCertificate(Path.of("nowhere.pem"), Path.of("nowhere.key")) } },
            "holds no certificate" to { client { clientCertificate(one.keyPem, one.keyPem) } },
            "cannot be read" to { client { clientCertificate("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", one.keyPem) } },
            "has no key" to { client { clientCertificate(one.chain.first()) } },
            "takes the place of" to { client { clientCertificate(one.chain, one.key).sslContext(SSLContext.getDefault()) } },
        )) {
            val refused = thrown<UsageException> { make() }
            assertEquals("invalid_option", refused.code)
            assertTrue(words in refused.message!!, refused.message)
        }
    }

    private companion object {
        const val PASSWORD = "changeit"
    }
}

package peers

import java.nio.file.Files
import java.nio.file.Path
import java.security.KeyFactory
import java.security.KeyStore
import java.security.PrivateKey
import java.security.cert.Certificate
import java.security.cert.CertificateFactory
import java.security.spec.PKCS8EncodedKeySpec
import java.util.Base64
import javax.net.ssl.KeyManagerFactory
import javax.net.ssl.SSLContext
import javax.net.ssl.TrustManagerFactory
import javax.net.ssl.X509TrustManager

/** What a program makes TLS connections of its own with: whom it trusts, and what it presents. Paths are of PEM files. */
internal class Tls(ca: String?, certificate: String?, key: String?) {
    val trust: X509TrustManager = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm())
        .apply { init(ca?.let { path -> store().apply { certificates(path).forEachIndexed { index, it -> setCertificateEntry("$index", it) } } }) }
        .trustManagers.filterIsInstance<X509TrustManager>().first()

    val context: SSLContext = SSLContext.getInstance("TLS").apply {
        val keys = if (certificate == null || key == null) null else store().apply { setKeyEntry("own", privateKey(key), PASSWORD, certificates(certificate).toTypedArray()) }
        init(keys?.let { own -> KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm()).apply { init(own, PASSWORD) }.keyManagers }, arrayOf(trust), null)
    }

    private fun store() = KeyStore.getInstance("PKCS12").apply { load(null) }

    private fun certificates(path: String): List<Certificate> =
        Files.newInputStream(Path.of(path)).use { CertificateFactory.getInstance("X.509").generateCertificates(it).toList() }

    private fun privateKey(path: String): PrivateKey {
        val text = Files.readString(Path.of(path)).substringAfter("PRIVATE KEY-----").substringBefore("-----END")
        val encoded = PKCS8EncodedKeySpec(Base64.getMimeDecoder().decode(text))
        return listOf("RSA", "EC", "Ed25519").firstNotNullOf { kind -> runCatching { KeyFactory.getInstance(kind).generatePrivate(encoded) }.getOrNull() }
    }

    private companion object {
        val PASSWORD = "in memory".toCharArray()
    }
}

package dev.remint

import java.io.IOException
import java.net.Socket
import java.nio.file.Files
import java.nio.file.Path
import java.security.GeneralSecurityException
import java.security.KeyPair
import java.security.MessageDigest
import java.security.Principal
import java.security.PrivateKey
import java.security.cert.CertificateFactory
import java.security.cert.X509Certificate
import java.util.concurrent.locks.ReentrantLock
import javax.net.ssl.SSLContext
import javax.net.ssl.SSLEngine
import javax.net.ssl.X509ExtendedKeyManager
import javax.net.ssl.X509TrustManager
import kotlin.concurrent.withLock

/** A certificate with those that lead to its authority, and its key where the default transport presents it (RFC 8705). */
internal class Credential(val chain: List<X509Certificate>, val key: PrivateKey?) {
    /** The certificate's thumbprint (RFC 8705 section 3.1). */
    val tlsId: String = base64(MessageDigest.getInstance("SHA-256").digest(chain.first().encoded))
}

/** The client's certificate as it is now: of files that were replaced, the new one. */
internal class ClientCertificate(private val files: List<Path>, private val read: () -> Credential) {
    // Held while files are read, and never while anything is told.
    private val lock = ReentrantLock()
    private var stamps = stamps()

    @Volatile var current: Credential = read()
        private set

    /** Looks whether the files have changed, and tells the new thumbprint. Gives the one that connections have from here on. */
    fun renewed(tell: (tlsId: String) -> Unit): String {
        val before = current
        if (files.isNotEmpty()) lock.withLock { readAgain() }
        val after = current
        if (after.tlsId != before.tlsId) tell(after.tlsId)
        return after.tlsId
    }

    /** Refuses what could not take the place of the one that there is. */
    fun check(credential: Credential?) {
        if (current.key != null && credential?.key == null) throw misuse("the new certificate has no key, and this client presents it: give the key as well")
    }

    /** From here on it is this one. */
    fun replace(credential: Credential): Unit = lock.withLock { current = credential }

    private fun readAgain() {
        val now = stamps()
        if (now == stamps) return
        try {
            current = read()
            stamps = now
        } catch (_: RemintException) {
            // Half of a pair is there so far: the other one is good until it is complete.
        }
    }

    private fun stamps(): List<Pair<Any, Long>?> = files.map { file ->
        try {
            Files.getLastModifiedTime(file) to Files.size(file)
        } catch (_: IOException) {
            null
        }
    }
}

/** The credential of PEM texts, or what is wrong with them. */
internal fun credentialOf(certificate: String, key: String): Credential {
    val factory = CertificateFactory.getInstance("X.509")
    val chain = try {
        CERTIFICATE.findAll(certificate).map { factory.generateCertificate(it.value.byteInputStream()) as X509Certificate }.toList()
    } catch (_: GeneralSecurityException) {
        throw misuse("the option `clientCertificate` holds a certificate that cannot be read")
    }
    if (chain.isEmpty()) throw misuse("the option `clientCertificate` holds no certificate: give PEM text, or the `Path` of a PEM file")
    return credentialOf(chain, privateKeyOfPem(key))
}

/** The credential of files that hold them. */
internal fun credentialOf(certificate: Path, key: Path): Credential {
    val (certificateText, keyText) = listOf(certificate, key).map { file ->
        try {
            Files.readString(file)
        } catch (refused: IOException) {
            throw misuse("the file `$file` of the option `clientCertificate` cannot be read", refused)
        }
    }
    return credentialOf(certificateText, keyText)
}

internal fun credentialOf(chain: List<X509Certificate>, key: PrivateKey): Credential {
    if (chain.isEmpty()) throw misuse("the option `clientCertificate` holds no certificate")
    if (!isPair(KeyPair(chain.first().publicKey, key))) throw misuse("the key of `clientCertificate` does not belong to the certificate: see where they come from")
    return Credential(chain.toList(), key)
}

/** What connections are made with: another as soon as the certificate is. It belongs to one transport, which asks under its lock. */
internal class TlsOf(private val certificate: ClientCertificate, private val trust: X509TrustManager?) : () -> SSLContext {
    private var made: Pair<Credential, SSLContext>? = null

    override fun invoke(): SSLContext {
        val wanted = certificate.current
        made?.let { (credential, context) -> if (credential === wanted) return context }
        return sslContextOf(wanted, trust).also { made = wanted to it }
    }
}

/** Makes TLS connections that present [credential], and trust whom [trust] does, or else whom Java does. */
internal fun sslContextOf(credential: Credential?, trust: X509TrustManager?): SSLContext = SSLContext.getInstance("TLS").apply {
    val keys = credential?.key?.let { arrayOf(OneKey(credential.chain, it)) }
    init(keys, trust?.let { arrayOf(it) }, null)
}

/** The one key there is, whatever the server would like. */
private class OneKey(private val chain: List<X509Certificate>, private val key: PrivateKey) : X509ExtendedKeyManager() {
    override fun chooseClientAlias(keyTypes: Array<String>?, issuers: Array<Principal>?, socket: Socket?) = ALIAS

    override fun chooseEngineClientAlias(keyTypes: Array<String>?, issuers: Array<Principal>?, engine: SSLEngine?) = ALIAS

    override fun getClientAliases(keyType: String?, issuers: Array<Principal>?) = arrayOf(ALIAS)

    override fun getCertificateChain(alias: String?) = chain.toTypedArray()

    override fun getPrivateKey(alias: String?) = key

    override fun getServerAliases(keyType: String?, issuers: Array<Principal>?): Array<String>? = null

    override fun chooseServerAlias(keyType: String?, issuers: Array<Principal>?, socket: Socket?): String? = null

    private companion object {
        const val ALIAS = "client"
    }
}

/** A file that was to be read, and its name: what a function of the library's own fails with. */
internal class UnreadableFile(path: Path, cause: IOException) : IOException("the file `$path` cannot be read", cause)

/** A token that a platform writes into a file, as it is now. */
internal fun readToken(path: Path): String = try {
    Files.readString(path).removeSuffix("\n").removeSuffix("\r")
} catch (refused: IOException) {
    throw UnreadableFile(path, refused)
}

private val CERTIFICATE = Regex("-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----")

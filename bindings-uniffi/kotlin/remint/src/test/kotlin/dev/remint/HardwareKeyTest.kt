package dev.remint

import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.Timeout
import org.junit.jupiter.api.io.TempDir
import java.nio.file.Files
import java.nio.file.Path
import java.security.KeyFactory
import java.security.KeyPair
import java.security.KeyPairGenerator
import java.security.KeyStore
import java.security.Security
import java.security.Signature
import java.security.spec.ECGenParameterSpec
import java.security.spec.MGF1ParameterSpec
import java.security.spec.PSSParameterSpec
import java.security.spec.X509EncodedKeySpec

/** Keys that stay in a PKCS #11 token, by Java's own provider. SoftHSM plays the token; where it is not installed there is nothing to test. */
@Timeout(120)
class HardwareKeyTest {
    @TempDir
    lateinit var folder: Path

    @Test
    fun `keys that stay in their token sign`() {
        val library = LIBRARIES.find { Files.exists(Path.of(it)) }
        assertTrue(library != null, "SoftHSM is missing: install softhsm2")
        // It reads its settings from the environment, which only a child can be given.
        val settings = Files.writeString(folder.resolve("softhsm2.conf"), "directories.tokendir = ${Files.createDirectory(folder.resolve("tokens"))}\n")
        val provider = Files.writeString(folder.resolve("pkcs11.cfg"), "name = Soft\nlibrary = $library\nslotListIndex = 0\n$SENSITIVE")
        val java = Path.of(System.getProperty("java.home"), "bin", "java").toString()
        for (command in listOf(
            listOf("softhsm2-util", "--init-token", "--slot", "0", "--label", "t", "--pin", PIN, "--so-pin", PIN),
            listOf(java, "-cp", System.getProperty("java.class.path"), "dev.remint.HardwareKeyTestKt", "$provider"),
        )) {
            val child = ProcessBuilder(command).redirectErrorStream(true).apply { environment()["SOFTHSM2_CONF"] = "$settings" }.start()
            val said = child.inputStream.bufferedReader().readText()
            assertEquals(0, child.waitFor(), said)
        }
    }

    companion object {
        const val PIN = "1234"
        private const val SENSITIVE = "attributes(*,CKO_PRIVATE_KEY,*) = {\n CKA_SIGN = true\n CKA_SENSITIVE = true\n CKA_EXTRACTABLE = false\n}\n"
        private val LIBRARIES = listOf("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm2.so", "/opt/homebrew/lib/softhsm/libsofthsm2.so")
    }
}

/** What the child does: makes keys in the token, signs with them, and verifies that without it. */
fun main(arguments: Array<String>) {
    val provider = Security.getProvider("SunPKCS11").configure(arguments.single())
    Security.addProvider(provider)
    KeyStore.getInstance("PKCS11", provider).load(null, HardwareKeyTest.PIN.toCharArray())
    val ec = KeyPairGenerator.getInstance("EC", provider).apply { initialize(ECGenParameterSpec("secp256r1")) }.generateKeyPair()
    val rsa = KeyPairGenerator.getInstance("RSA", provider).apply { initialize(2048) }.generateKeyPair()
    check(ec.private.encoded == null) { "the key came out of its token" }
    for ((pair, algorithm, name) in listOf(Triple(ec, "ES256", "SHA256withECDSAinP1363Format"), Triple(rsa, "RS256", "SHA256withRSA"), Triple(rsa, "PS256", "RSASSA-PSS"))) {
        val keys = listOf(SigningKey.of(pair, algorithm), SigningKey.of(pair.private, algorithm, name = "hsm/1"))
        for (key in keys) check(verifies(pair, name, key.signer.sign("input".toByteArray(), algorithm))) { "$algorithm is signed wrongly" }
        check(keys.first().jwk == jwkOf(pair.public)) { "the public key is another" }
    }
    val refused = runCatching { SigningKey.of(ec.private) }.exceptionOrNull()
    check(refused is UsageException) { "it guessed the curve: $refused" }
}

/** By the key that the token gave, without the token. */
private fun verifies(pair: KeyPair, name: String, signature: ByteArray): Boolean {
    val elsewhere = if (pair.public.algorithm == "EC") "SunEC" else "SunRsaSign"
    val public = KeyFactory.getInstance(pair.public.algorithm, elsewhere).generatePublic(X509EncodedKeySpec(pair.public.encoded))
    return Signature.getInstance(name, elsewhere).run {
        initVerify(public)
        if (name == "RSASSA-PSS") setParameter(PSSParameterSpec("SHA-256", "MGF1", MGF1ParameterSpec.SHA256, 32, 1))
        update("input".toByteArray())
        verify(signature)
    }
}

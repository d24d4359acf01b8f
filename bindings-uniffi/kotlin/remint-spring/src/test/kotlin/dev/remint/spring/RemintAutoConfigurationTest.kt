package dev.remint.spring

import dev.remint.Client
import dev.remint.SigningKey
import dev.remint.UsageException
import dev.remint.adapters.text
import java.nio.file.Files
import java.nio.file.Path
import java.security.PrivateKey
import java.time.Duration
import java.util.Base64
import kotlinx.coroutines.runBlocking
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.jsonArray
import kotlinx.serialization.json.jsonObject
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertInstanceOf
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertSame
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir
import org.springframework.boot.autoconfigure.AutoConfiguration
import org.springframework.boot.autoconfigure.AutoConfigurations
import org.springframework.boot.context.annotation.ImportCandidates
import org.springframework.boot.test.context.FilteredClassLoader
import org.springframework.boot.test.context.runner.ApplicationContextRunner

class RemintAutoConfigurationTest {
    private val runner = ApplicationContextRunner().withConfiguration(ALL)
    private val wallet = runner.withPropertyValues(
        "remint.profile=phoenix-wallet",
        "remint.client-id=demo-client",
        "remint.client-secret=s3cret",
        "remint.scope=wallets:read,wallets:write",
        "remint.variables.token-endpoint=https://login.example/token",
        "remint.variables.base_url=https://api.example",
        "remint.request-timeout=5s",
    )

    @Test
    fun `a client is made of the properties and closed with the application`() {
        lateinit var client: Client
        wallet.run { context ->
            client = context.getBean(Client::class.java)
            assertEquals(1, context.getBeansOfType(RemintRequestInterceptor::class.java).size)
            assertEquals(1, context.getBeansOfType(RemintExchangeFilter::class.java).size)
            assertEquals(Duration.ofSeconds(5), context.getBean(RemintProperties::class.java).requestTimeout)
            assertEquals(listOf("wallets:read", "wallets:write"), context.getBean(RemintProperties::class.java).scope)
        }
        val refused = assertThrows(UsageException::class.java) { runBlocking { client.token() } }
        assertEquals("closed", refused.code)
    }

    @Test
    fun `without a profile there is nothing`() {
        runner.run { context ->
            assertFalse(context.containsBean("remintClient"))
            assertTrue(context.getBeansOfType(RemintRequestInterceptor::class.java).isEmpty())
            assertTrue(context.getBeansOfType(RemintExchangeFilter::class.java).isEmpty())
        }
    }

    @Test
    fun `a client of one's own takes its place`() {
        val own = Client.fixed("token", "https://api.example")
        wallet.withBean("own", Client::class.java, { own }).run { context ->
            assertSame(own, context.getBean(Client::class.java))
            assertEquals(1, context.getBeansOfType(RemintRequestInterceptor::class.java).size)
        }
    }

    @Test
    fun `what the properties can't say is said by a customizer`() {
        wallet.withBean(ClientCustomizer::class.java, { ClientCustomizer { it.variable("base_url", "not a URL") } }).run { context ->
            val refused = generateSequence<Throwable>(context.startupFailure) { it.cause }.last()
            assertEquals("invalid_option", assertInstanceOf(UsageException::class.java, refused).code)
        }
    }

    @Test
    fun `keys and certificates are files, and what is wrong with them stops the application`(@TempDir folder: Path) {
        val key = Files.writeString(folder.resolve("key.pem"), pem(SigningKey.generateKey().private))
        // The certificate's own tests are beside the client: here it is what the property does that counts.
        wallet.withPropertyValues("remint.dpop=true").run { assertNull(it.startupFailure) }
        wallet.withPropertyValues("remint.dpop-key=$key").run { context ->
            assertNull(context.startupFailure)
            assertEquals(key, context.getBean(RemintProperties::class.java).dpopKey)
        }
        for ((words, properties) in listOf(
            "remint.dpop-key" to listOf("remint.dpop-key=$folder/nowhere.pem"),
            "no private key" to listOf("remint.dpop-key=${Files.writeString(folder.resolve("empty.pem"), "")}"),
            "go together" to listOf("remint.client-certificate=$key"),
            "go together" to listOf("remint.client-certificate-key=$key"),
            "holds no certificate" to listOf("remint.client-certificate=$key", "remint.client-certificate-key=$key"),
            "nowhere.pem" to listOf("remint.client-certificate=$folder/nowhere.pem", "remint.client-certificate-key=$key"),
            "certificate" to listOf("remint.certificate-bound=true"),
        )) {
            wallet.withPropertyValues(*properties.toTypedArray()).run { context ->
                val refused = generateSequence<Throwable>(context.startupFailure) { it.cause }.first { it is UsageException } as UsageException
                assertEquals("invalid_option", refused.code)
                assertTrue(words in refused.message!!, refused.message)
            }
        }
    }

    private fun pem(key: PrivateKey) = "-----BEGIN PRIVATE KEY-----\n${Base64.getMimeEncoder().encodeToString(key.encoded)}\n-----END PRIVATE KEY-----\n"

    @Test
    fun `either of Spring's web modules may be missing`() {
        wallet.withClassLoader(FilteredClassLoader("org.springframework.web.reactive")).run { context ->
            assertTrue(context.containsBean("remintRequestInterceptor"))
            assertFalse(context.containsBean("remintExchangeFilter"))
        }
        wallet.withClassLoader(FilteredClassLoader("org.springframework.http", "org.springframework.web")).run { context ->
            assertTrue(context.containsBean("remintClient"))
            assertFalse(context.containsBean("remintRequestInterceptor"))
        }
    }

    @Test
    fun `editors are told of every property`() {
        val text = checkNotNull(javaClass.getResource("/META-INF/spring-configuration-metadata.json")).readText()
        val told = Json.parseToJsonElement(text).jsonObject.getValue("properties").jsonArray.map { it.jsonObject.text("name") }
        val known = RemintProperties::class.java.methods.map { it.name }.filter { it.startsWith("set") }
            .map { "remint" + it.removePrefix("set").replace(Regex("([A-Z])"), "-$1").lowercase().replaceFirst('-', '.') }
        assertEquals(known.sorted(), told.sorted())
    }

    private companion object {
        /** As the artefact itself names them. */
        val ALL: AutoConfigurations = ImportCandidates.load(AutoConfiguration::class.java, null).candidates
            .filter { it.startsWith("dev.remint") }.map { Class.forName(it) }.let { AutoConfigurations.of(*it.toTypedArray()) }
    }
}

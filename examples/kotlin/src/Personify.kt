// Personify: the tenant's id goes on every API request beside the token. With Ktor.
import dev.remint.Client
import dev.remint.ktor.RemintAuth
import io.ktor.client.HttpClient
import io.ktor.client.engine.java.Java
import io.ktor.client.request.get
import io.ktor.client.statement.bodyAsText
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.coroutineScope

private val variables = System.getenv()

suspend fun main() {
    val baseUrl = variables.getValue("BASE_URL")
    val personify = Client("personify", variables.getValue("CLIENT_ID"), variables.getValue("CLIENT_SECRET")) {
        variable("tenantId", variables.getValue("TENANT_ID"))
        variables["TOKEN_ENDPOINT"]?.let { variable("tokenEndpoint", it) }
        variable("baseUrl", baseUrl)
        allowLoopbackHttp(true)
    }

    HttpClient(Java) { install(RemintAuth) { client = personify } }.use { http ->
        // However many ask at once: there is one token request.
        val pages = coroutineScope { List(50) { page -> async { http.get("$baseUrl/v1/customers?page=$page").bodyAsText() } }.awaitAll() }
        pages.forEach(::println)
    }
}

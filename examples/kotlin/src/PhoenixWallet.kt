// Phoenix Wallet: the wallets of one client, with the scopes that are needed and no others. With the JDK's own HTTP client.
import dev.remint.Client
import java.net.URI
import java.net.http.HttpClient
import java.net.http.HttpRequest
import java.net.http.HttpResponse.BodyHandlers
import kotlinx.coroutines.future.await

private val variables = System.getenv()
private val url = (variables["BASE_URL"] ?: "https://api.phoenixwallet.io") + "/v1/wallets"

suspend fun main() {
    val wallet = Client("phoenix-wallet", variables.getValue("CLIENT_ID"), scope = listOf("wallets:read")) {
        // A function is asked at each token request: a rotated secret needs no restart.
        clientSecret { variables.getValue("CLIENT_SECRET") }
        variables["TOKEN_ENDPOINT"]?.let { variable("tokenEndpoint", it) }
        variables["BASE_URL"]?.let { variable("baseUrl", it) }
        allowLoopbackHttp(true)
    }

    val request = HttpRequest.newBuilder(URI(url))
    wallet.headers("GET", url).forEach { (name, value) -> request.header(name, value) }
    val wallets = HttpClient.newHttpClient().sendAsync(request.build(), BodyHandlers.ofString()).await()
    println(wallets.body())
}

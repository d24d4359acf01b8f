// A provider of your own, without a line of code: PROFILE names a document, such as those in ../profiles.
import dev.remint.Client
import java.net.URI
import java.net.http.HttpClient
import java.net.http.HttpRequest
import java.net.http.HttpResponse.BodyHandlers
import kotlin.io.path.Path
import kotlin.io.path.readText
import kotlinx.coroutines.future.await

private val variables = System.getenv()

suspend fun main() {
    val client = Client(Path(variables.getValue("PROFILE")).readText(), variables["CLIENT_ID"], variables["CLIENT_SECRET"]) {
        variables["API_TOKEN"]?.let { apiToken(it) }
        // What the documents declare as their variables.
        for (name in listOf("base_url", "region", "forge_url", "api_url")) {
            variables[name.uppercase()]?.let { variable(name, it) }
        }
        allowLoopbackHttp(true)
    }

    // Only where a person has to authorize the program.
    variables["REDIRECT_URI"]?.let { redirectUri ->
        val authorization = client.authorizationUrl(redirectUri)
        println("Open ${authorization.url}")
        println("Paste the address that the browser ends up at:")
        client.exchange(readln(), authorization.session)
    }

    println(client.token())
    val url = (variables["API_URL"] ?: variables.getValue("BASE_URL")) + "/user"
    val request = HttpRequest.newBuilder(URI(url))
    client.headers("GET", url).forEach { (name, value) -> request.header(name, value) }
    println(HttpClient.newHttpClient().sendAsync(request.build(), BodyHandlers.ofString()).await().body())
}

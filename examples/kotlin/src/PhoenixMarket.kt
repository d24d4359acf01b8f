// phoenix.market: what a back end hands to its front end, and the iframe's URL.
import dev.remint.Client
import kotlinx.serialization.json.buildJsonObject
import kotlinx.serialization.json.put

private val variables = System.getenv()

suspend fun main() {
    val iframeUrl = variables.getValue("IFRAME_URL")
    val market = Client("phoenix-market", variables.getValue("CLIENT_ID"), variables.getValue("CLIENT_SECRET")) {
        variable("tokenEndpoint", variables.getValue("TOKEN_ENDPOINT"))
        variable("iframeUrl", iframeUrl)
        allowLoopbackHttp(true)
    }

    // One token serves all users. The answer to the front end must say `Cache-Control: no-store`.
    val token = market.token()
    println(
        buildJsonObject {
            put("access_token", token.accessToken)
            put("expires_in", token.expiresIn().toSeconds())
        },
    )

    // Histories and logs keep URLs, so this one is asked for by name.
    val iframe = market.insecureUrl(iframeUrl)
    println("""<iframe src="${iframe.url}"></iframe>""")
}

import dev.remint.Client

/** The first token in three lines, as the README has them. */
suspend fun main() {
    val wallet = Client("phoenix-wallet", env("CLIENT_ID"), env("CLIENT_SECRET"), listOf("wallets:read")) {
        variable("tokenEndpoint", env("TOKEN_ENDPOINT")).allowLoopbackHttp(true)
    }
    println(wallet.token().authorization.substringBefore(' '))
}

private fun env(name: String): String = System.getenv(name)

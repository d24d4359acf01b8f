import dev.remint.Client;

/** The first token, as Java programs get it. */
final class First {
    public static void main(String[] words) {
        var wallet = Client.builder("phoenix-wallet")
            .clientId(System.getenv("CLIENT_ID"))
            .clientSecret(System.getenv("CLIENT_SECRET"))
            .scope("wallets:read")
            .variable("tokenEndpoint", System.getenv("TOKEN_ENDPOINT"))
            .allowLoopbackHttp(true)
            .build();
        System.out.println(wallet.tokenBlocking().getAuthorization().split(" ")[0]);
    }

    private First() {}
}

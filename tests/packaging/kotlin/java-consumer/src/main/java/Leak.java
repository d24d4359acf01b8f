import dev.remint.Client;
import dev.remint.HttpResponse;
import java.util.Map;
import java.util.concurrent.CompletableFuture;

/** Clients that nobody closes, in a small heap: what they leave behind is collected. */
final class Leak {
    public static void main(String[] words) throws Exception {
        var answer = new HttpResponse(200, Map.of(), "{\"access_token\":\"T\",\"token_type\":\"Bearer\",\"expires_in\":3600}".getBytes());
        for (int number = 0; number < 10_000; number++) {
            var client = Client.builder("phoenix-wallet").clientId("id").clientSecret("secret").variable("tokenEndpoint", "https://auth.example/token")
                .http(request -> CompletableFuture.completedFuture(answer)).build();
            if (number % 2 == 0) client.tokenBlocking();
            if (number % 1_000 == 0) System.gc();
        }
        System.out.println(Thread.activeCount() < 20 ? "harmless" : Thread.activeCount() + " threads");
    }

    private Leak() {}
}

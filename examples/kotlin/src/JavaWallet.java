// The three families of errors, from Java: the builder, and a CompletableFuture for each verb.
import dev.remint.Client;
import dev.remint.RemintException;
import dev.remint.ServerException;
import dev.remint.TransportException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;

public final class JavaWallet {
    private static final Map<String, String> VARIABLES = System.getenv();
    private static final String BASE_URL = VARIABLES.getOrDefault("BASE_URL", "https://api.phoenixwallet.io");

    public static void main(String[] arguments) {
        try (Client wallet = client()) {
            System.out.println(wallets(wallet).join());
        } catch (RemintException error) {
            System.exit(report(error));
        } catch (CompletionException error) {
            // What a future throws is wrapped, as everywhere in Java.
            if (!(error.getCause() instanceof RemintException cause)) throw error;
            System.exit(report(cause));
        }
    }

    private static Client client() {
        var builder = Client.builder("phoenix-wallet")
            .clientId(VARIABLES.get("CLIENT_ID"))
            .clientSecret(VARIABLES.get("CLIENT_SECRET"))
            .scope("wallets:read")
            .allowLoopbackHttp(true)
            .onNotice(notice -> System.err.println(notice.getName() + " " + Objects.toString(notice.getDetail(), "")));
        if (VARIABLES.containsKey("TOKEN_ENDPOINT")) builder.variable("tokenEndpoint", VARIABLES.get("TOKEN_ENDPOINT"));
        if (VARIABLES.containsKey("BASE_URL")) builder.variable("baseUrl", BASE_URL);
        return builder.build();
    }

    /** One API call without an adapter: no thread waits, and a 401 is met by one more attempt with another token. */
    private static CompletableFuture<String> wallets(Client wallet) {
        return wallet.tokenAsync()
            .thenCompose(token -> send(token.getAuthorization())
                .thenCompose(answer -> answer.statusCode() != 401
                    ? CompletableFuture.completedFuture(answer)
                    : wallet.rejectAsync(token, "GET", url(), 401, answer.headers().map())
                        .thenCompose(isRetry -> isRetry
                            ? wallet.tokenAsync().thenCompose(next -> send(next.getAuthorization()))
                            : CompletableFuture.completedFuture(answer))))
            .thenApply(HttpResponse::body);
    }

    private static CompletableFuture<HttpResponse<String>> send(String authorization) {
        var request = HttpRequest.newBuilder(URI.create(url())).header("Authorization", authorization).build();
        return HttpClient.newHttpClient().sendAsync(request, BodyHandlers.ofString());
    }

    private static String url() {
        return BASE_URL + "/v1/wallets";
    }

    private static int report(RemintException error) {
        if (error instanceof ServerException) {
            System.err.println("The server said no: " + error.getCode() + " (status " + error.getStatus() + ")");
        } else if (error instanceof TransportException) {
            System.err.println("No answer arrived: " + error.getCode());
        } else {
            System.err.println("This program is wrong: " + error.getCode());
        }
        // The same text says what to do.
        System.err.println(error.getMessage());
        return error.isRetryable() ? 75 : 1;
    }
}

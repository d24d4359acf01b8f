import dev.remint.Builder;
import dev.remint.Client;
import dev.remint.HttpResponse;
import dev.remint.RemintException;
import dev.remint.Token;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;

/** Nulls, wrong types and closed clients: every one of them is an exception, and the process goes on. */
final class Misuse {
    private static int tries;
    private static int wrong;

    private interface Act {
        Object run() throws Exception;
    }

    public static void main(String[] words) throws Exception {
        for (Client client : List.of(client(), closed())) {
            Token token = client().tokenBlocking();
            fails(() -> client.tokenBlocking(null, false, null));
            fails(() -> client.tokenAsync(null, false, null).join());
            fails(() -> client.headersBlocking(null, null));
            fails(() -> client.headersBlocking("GET", ""));
            fails(() -> client.rejectBlocking(null, "GET", "https://api.example/", 401));
            fails(() -> client.rejectBlocking(token, "GET", null, 401, null));
            fails(() -> client.withSubject(null));
            fails(() -> client.withScope((String[]) null));
            fails(() -> client.withScope((String) null).tokenBlocking());
            fails(() -> client.authorizationUrlBlocking(null, null, null));
            fails(() -> client.authorizationUrlBlocking("", List.of("\u0000"), nulls()));
            fails(() -> client.exchangeBlocking((String) null, null));
            fails(() -> client.exchangeBlocking("", "\ud800"));
            fails(() -> client.insecureUrlBlocking(null));
        }
        fails(() -> new Client(null, null, null, null, builder -> null));
        fails(() -> Client.builder(null).build());
        fails(() -> Client.builder("").build());
        fails(() -> Client.builder("{").build());
        fails(() -> Client.fixed(null));
        fails(() -> Client.fixed("t", (String) null));
        fails(() -> Client.fixed("t\nx").tokenBlocking());
        fails(() -> wallet().clientId(null).build());
        fails(() -> wallet().clientSecret((String) null).build());
        fails(() -> wallet().requestTimeout(null).build());
        fails(() -> wallet().requestTimeout(Duration.ofNanos(1)).build());
        fails(() -> wallet().variable("tokenEndpoint", new Object()).build());
        fails(() -> wallet().variable("tokenEndpoint", Double.NaN).build());
        fails(() -> wallet().variable("tokenEndpoint", itself()).build());
        fails(() -> wallet().policy(Map.of("softMargin", new Object())).build());
        fails(() -> wallet().policy(Map.of("softMargin", "long")).build());
        fails(() -> wallet().parameters(nulls()).build());
        fails(() -> wallet().parameters(lying()).build());
        fails(() -> wallet().http(null).build().tokenBlocking());
        fails(() -> wallet().clock(null).build().tokenBlocking());
        fails(() -> wallet().random(size -> null).build().tokenBlocking());
        fails(() -> wallet().random(size -> new byte[1]).build().tokenBlocking());
        fails(() -> wallet().clientSecret(() -> null).build().tokenBlocking(Duration.ZERO, false, Duration.ofSeconds(1)));
        fails(() -> wallet().http(request -> null).build().tokenBlocking(Duration.ZERO, false, Duration.ofSeconds(1)));
        System.out.println(wrong == 0 ? "fine " + tries : wrong + " of " + tries + " went wrong");
    }

    /** An exception of Remint's, or what Java says of a null and of a type that is another. */
    private static void fails(Act act) {
        tries++;
        Throwable thrown;
        try {
            thrown = new IllegalStateException("number " + tries + " is accepted: " + act.run());
        } catch (CompletionException failed) {
            thrown = failed.getCause();
        } catch (Throwable failed) {
            thrown = failed;
        }
        var expected = thrown instanceof RemintException || thrown instanceof NullPointerException || thrown instanceof ClassCastException;
        if (!expected) {
            wrong++;
            System.out.print("number " + tries + ": ");
            thrown.printStackTrace(System.out);
        }
    }

    private static Builder wallet() {
        return Client.builder("phoenix-wallet").clientId("id").clientSecret("secret").variable("tokenEndpoint", "https://auth.example/token").http(
            request -> CompletableFuture.completedFuture(
                new HttpResponse(200, Map.of(), "{\"access_token\":\"T\",\"token_type\":\"Bearer\",\"expires_in\":3600}".getBytes())));
    }

    private static Client client() {
        return wallet().build();
    }

    private static Client closed() {
        var client = client();
        client.tokenBlocking();
        client.close();
        return client;
    }

    private static Map<String, String> nulls() {
        var map = new HashMap<String, String>();
        map.put("a", null);
        return map;
    }

    private static Map<String, Object> itself() {
        var map = new HashMap<String, Object>();
        map.put("a", map);
        return map;
    }

    @SuppressWarnings({"unchecked", "rawtypes"})
    private static Map<String, String> lying() {
        return (Map) Map.of("a", 5);
    }

    private Misuse() {}
}

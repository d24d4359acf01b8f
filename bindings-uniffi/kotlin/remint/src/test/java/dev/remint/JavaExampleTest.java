package dev.remint;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import org.junit.jupiter.api.Test;

/** How the package looks from Java. Other packages see no more than this class uses. */
class JavaExampleTest {
    private final List<String> notices = new ArrayList<>();

    private Client client() {
        byte[] answer = "{\"access_token\":\"T1\",\"token_type\":\"Bearer\",\"expires_in\":3600}".getBytes(StandardCharsets.UTF_8);
        return Client.builder("phoenix-wallet")
                .clientId("id")
                .clientSecret(() -> "s3cret")
                .scope("wallets:read")
                .requestTimeout(Duration.ofSeconds(5))
                .policy(Map.of("softMargin", Duration.ofMinutes(2)))
                .http(request -> CompletableFuture.completedFuture(new HttpResponse(200, Map.of("content-type", List.of("application/json")), answer)))
                .onNotice(notice -> notices.add(notice.getName()))
                .build();
    }

    @Test
    void aTokenInThreeWays() throws Exception {
        try (Client wallet = client()) {
            Token token = wallet.tokenBlocking();
            assertEquals("Bearer T1", token.getAuthorization());
            assertTrue(token.expiresIn().compareTo(Duration.ofMinutes(59)) > 0);
            assertEquals("T1", wallet.tokenAsync().get().getAccessToken());
            assertEquals("T1", wallet.tokenBlocking(Duration.ofMinutes(1), false, Duration.ofSeconds(3)).getAccessToken());
            assertEquals("T1", wallet.peek().getAccessToken());
            assertEquals(List.of("fetched"), notices);
        }
    }

    @Test
    void oneApiCallByHand() {
        try (Client wallet = client()) {
            String url = "https://api.phoenixwallet.io/v1/wallets";
            assertEquals(Map.of("Authorization", "Bearer T1"), wallet.headersBlocking("GET", url));
            Token token = wallet.tokenBlocking();
            assertTrue(wallet.rejectBlocking(token, "GET", url, 401));
            assertFalse(wallet.rejectBlocking(token, "GET", url, 200, Map.of()));
        }
    }

    @Test
    void errorsByFamilyAndCode() {
        UsageException unknown = assertThrows(UsageException.class, () -> Client.builder("phoenix-walet").build());
        assertEquals("invalid_option", unknown.getCode());
        try (Client fixed = Client.fixed("abc", "https://api.example.com")) {
            RemintException refused = assertThrows(RemintException.class, () -> fixed.headersBlocking("GET", "https://api.example.org/"));
            assertEquals("origin_not_allowed", refused.getCode());
            assertFalse(refused.isRetryable());
        }
    }

    @Test
    void usersOfTheClient() {
        try (Client wallet = client()) {
            Client narrower = wallet.withScope("wallets:write");
            assertEquals("T1", narrower.tokenBlocking().getAccessToken());
            UsageException none = assertThrows(UsageException.class, () -> wallet.authorizationUrlBlocking("https://app.example.com/callback"));
            assertEquals("usage", none.getFamily());
        }
    }

    @Test
    void aClientThatRegistersItself() throws Exception {
        byte[] answer = "{\"client_id\":\"c1\",\"client_secret\":\"s1\",\"client_name\":\"Nightly job\"}".getBytes(StandardCharsets.UTF_8);
        Registrar registrar = Client.builder("keycloak").variable("baseUrl", "https://sso.example.com").variable("realm", "shop")
                .http(request -> CompletableFuture.completedFuture(new HttpResponse(201, Map.of("content-type", List.of("application/json")), answer)))
                .registrar();
        RegistrationRequest request = new RegistrationRequest.Register(Map.of("client_name", "Nightly job"), "given-by-the-operator");
        RegisteredClient client = registrar.registerBlocking(request);
        assertEquals(List.of("c1", "s1", "Nightly job"), List.of(client.getClientId(), client.getClientSecret(), client.getMetadata().get("client_name")));
        assertEquals("c1", registrar.registerAsync(request).get().getClientId());
        UsageException unmanaged = assertThrows(UsageException.class, () -> new RegistrationRequest.Delete(client));
        assertEquals("invalid_option", unmanaged.getCode());
    }

    /** A store of a user's own, in memory. */
    private static final class Shelf implements Store {
        private final Map<String, String> records = new ConcurrentHashMap<>();

        @Override
        public String load(String key) {
            return records.get(key);
        }

        @Override
        public LockResult lock(String key, String owner, Duration ttl) {
            return owner.isEmpty() ? new Held(ttl, records.get(key)) : new Locked(records.get(key));
        }

        @Override
        public SaveResult save(String key, String expect, String record, Duration ttl, String unlock) {
            String stored = records.get(key);
            if (!Objects.equals(stored, expect)) return new Conflict(stored);
            records.put(key, record);
            return new Saved();
        }
    }

    @Test
    void aStoreAndItsKeys() {
        Shelf shelf = new Shelf();
        StoreKey key = new StoreKey("2026-11", new byte[32]);
        for (int process = 0; process < 2; process++) {
            try (Client wallet = Client.builder("phoenix-wallet").clientId("id").clientSecret("s3cret").store(shelf).storeKeys(key)
                    .http(request -> CompletableFuture.completedFuture(answer(notices.size()))).onNotice(notice -> notices.add(notice.getName())).build()) {
                assertEquals("T0", wallet.tokenBlocking().getAccessToken());
                wallet.renewBlocking(null, null);
            }
        }
        assertEquals(1, notices.stream().filter("fetched"::equals).count(), notices.toString());
        // With its quotes: two letters may be in any ciphertext.
        assertFalse(shelf.records.toString().contains("\"T0\""));
    }

    private static HttpResponse answer(int count) {
        byte[] body = ("{\"access_token\":\"T" + count + "\",\"token_type\":\"Bearer\",\"expires_in\":3600}").getBytes(StandardCharsets.UTF_8);
        return new HttpResponse(200, Map.of("content-type", List.of("application/json")), body);
    }

    @Test
    void nullIsToldByTheNameOfTheParameter() {
        Client wallet = client();
        for (Map.Entry<String, org.junit.jupiter.api.function.Executable> call : Map.<String, org.junit.jupiter.api.function.Executable>of(
                        "profile", () -> Client.builder(null),
                        "clientId", () -> Client.builder("phoenix-wallet").clientId(null),
                        "minTtl", () -> wallet.tokenBlocking(null),
                        "method", () -> wallet.headersBlocking(null, "https://api.phoenixwallet.io/"),
                        "token", () -> wallet.rejectBlocking(null, "GET", "https://api.phoenixwallet.io/", 401),
                        "id", () -> wallet.withSubject(null),
                        "session", () -> wallet.exchangeBlocking("?code=c", null))
                .entrySet()) {
            NullPointerException error = assertThrows(NullPointerException.class, call.getValue());
            assertTrue(error.getMessage().contains(call.getKey()), error.getMessage());
        }
        wallet.close();
    }
}

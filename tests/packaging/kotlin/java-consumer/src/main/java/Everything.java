import dev.remint.ApiCall;
import dev.remint.Authorization;
import dev.remint.BackchannelAuthentication;
import dev.remint.Builder;
import dev.remint.Client;
import dev.remint.DeviceAuthorization;
import dev.remint.HttpResponse;
import dev.remint.InsecureUrl;
import dev.remint.Introspection;
import dev.remint.Notice;
import dev.remint.OnRotated;
import dev.remint.RemintException;
import dev.remint.ServerException;
import dev.remint.SigningKey;
import dev.remint.Token;
import dev.remint.Transport;
import dev.remint.TransportException;
import dev.remint.TransportFailure;
import dev.remint.UsageException;
import java.net.ProxySelector;
import java.nio.file.Path;
import java.security.KeyPair;
import java.security.PrivateKey;
import java.security.cert.X509Certificate;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import javax.net.ssl.SSLContext;
import javax.net.ssl.X509TrustManager;

/** What Java programs write, for the compiler: only its {@code main} runs, and does nothing. */
final class Everything {
    public static void main(String[] words) {
        System.out.println("compiled");
    }

    static Client options(Executor executor, SSLContext tls, ProxySelector proxy) {
        Transport transport = request -> CompletableFuture.completedFuture(new HttpResponse(200, Map.of(), new byte[0]));
        Builder builder = Client.builder("personify")
            .clientId("id").clientSecret("secret").clientSecret(() -> "secret").scope("a", "b").scope(List.of("a"))
            .variable("tenantId", "t").variable("refresh", Duration.ofSeconds(3)).audience("a").resource("https://api.example/")
            .parameters(Map.of("a", "b")).apiOrigins("https://api.example").allowLoopbackHttp(false)
            .requestTimeout(Duration.ofSeconds(5)).policy(Map.of("softMargin", 60)).backgroundRefresh(true)
            .executor(executor).sslContext(tls).proxy(proxy).onNotice((Notice notice) -> System.out.println(notice.getName() + notice.getDetail()));
        return (tls == null ? builder.http(transport) : builder).build();
    }

    static String verbs(Client client) {
        OnRotated save = (refreshToken, subject) -> {};
        try (Client ann = client.withSubject("ann", "refresh", save).withScope("a")) {
            Token token = ann.tokenBlocking();
            token = ann.tokenBlocking(Duration.ofSeconds(60), false, Duration.ofSeconds(5));
            CompletableFuture<Token> later = ann.tokenAsync();
            Instant end = token.getExpiresAt();
            Duration left = token.expiresIn();
            Map<String, String> headers = ann.headersBlocking("GET", "https://api.example/");
            if (ann.rejectBlocking(token, "GET", "https://api.example/", 401, Map.of("www-authenticate", List.of("Bearer")))) later.join();
            Authorization authorization = ann.authorizationUrlBlocking("https://app.example/");
            ann.exchangeBlocking(Map.of("code", List.of("c")), authorization.getSession(), "ann", save);
            InsecureUrl insecure = ann.insecureUrlBlocking("https://api.example/");
            ann.invalidateBlocking();
            return authorization.getUrl() + insecure.getUrl() + end + left + headers + client.peek() + Client.fixed("t", "https://api.example");
        } catch (ServerException | TransportException error) {
            return error.getCode() + error.getStatus() + error.getRetryAfter() + error.isRetryable() + error.getOauthError() + error.isAmbiguous()
                + error.getAcrValues() + error.getMaxAge();
        } catch (UsageException error) {
            return error.getHint() + error.getPointer();
        } catch (RemintException error) {
            return error.getFamily() + error.getLifetime() + new TransportFailure(TransportFailure.Kind.NOT_SENT).getKind();
        }
    }

    static Client keys(KeyPair pair, X509Certificate certificate, PrivateKey key, X509TrustManager trust) {
        SigningKey own = SigningKey.of(pair);
        return Client.builder("personify").clientId("id").signingKey(SigningKey.of(key, "PS256", "k1"), "https://auth.example").dpop().dpop(own).dpop(own, false)
            .clientCertificate(Path.of("c.pem"), Path.of("k.pem")).clientCertificate("c", "k").clientCertificate(List.of(certificate), key)
            .clientCertificate(certificate).trustManager(trust).clientAssertionFile(Path.of("a.jwt")).subjectTokenFile(Path.of("s.jwt"))
            .subjectToken(subject -> "s").actorToken(subject -> "a").assertion(subject -> "j")
            .dpop(SigningKey.remote("kms/1", "ES256", "k1", pair.getPublic(), (input, algorithm) -> input)).dpop(SigningKey.jwk("{}"))
            .dpop(SigningKey.of(SigningKey.generateKey())).dpop(SigningKey.of(SigningKey.generateKey("EdDSA"))).build();
    }

    static String flows(Client client) throws Exception {
        DeviceAuthorization device = client.deviceAuthorizationBlocking(List.of("a"));
        BackchannelAuthentication asked = client.backchannelAuthenticationBlocking("ann", "W4SCT");
        Token token = client.pollBlocking(device.getSession(), "ann", (refreshToken, subject) -> {});
        CompletableFuture<Token> later = client.pollAsync(asked.getSession());
        Introspection known = client.introspectBlocking(token.getAccessToken());
        client.revokeBlocking();
        client.revokeAsync(later.get().getAccessToken(), "access_token").get();
        Authorization authorization = client.authorizationUrlAsync("https://app.example/", List.of("a"), Map.of(), List.of(Map.of("type", "payment"))).get();
        Client exchanged = client.withResource("https://api.example").withSubject("ann", null, "subject token", "actor token");
        Map<String, String> hop = new ApiCall(exchanged).attachHopBlocking("GET", "https://api.example/");
        return device.getUserCode() + device.getVerificationUri() + device.getVerificationUriComplete() + device.getQrText() + device.getExpiresIn()
            + device.getInterval() + known.isActive() + known.getClaims() + authorization.getUrl() + hop;
    }

    private Everything() {}
}

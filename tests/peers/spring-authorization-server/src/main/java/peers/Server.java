package peers;

import static org.springframework.security.config.Customizer.withDefaults;

import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import org.apache.catalina.connector.Connector;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.boot.tomcat.TomcatWebServer;
import org.springframework.boot.tomcat.servlet.TomcatServletWebServerFactory;
import org.springframework.boot.web.server.WebServerFactoryCustomizer;
import org.springframework.boot.web.server.servlet.context.ServletWebServerApplicationContext;
import org.springframework.context.annotation.Bean;
import org.springframework.core.annotation.Order;
import org.springframework.security.config.annotation.web.builders.HttpSecurity;
import org.springframework.security.core.userdetails.User;
import org.springframework.security.core.userdetails.UserDetailsService;
import org.springframework.security.oauth2.core.AuthorizationGrantType;
import org.springframework.security.oauth2.core.ClientAuthenticationMethod;
import org.springframework.security.oauth2.jose.jws.MacAlgorithm;
import org.springframework.security.oauth2.jose.jws.SignatureAlgorithm;
import org.springframework.security.oauth2.server.authorization.client.InMemoryRegisteredClientRepository;
import org.springframework.security.oauth2.server.authorization.client.RegisteredClient;
import org.springframework.security.oauth2.server.authorization.client.RegisteredClientRepository;
import org.springframework.security.oauth2.server.authorization.settings.AuthorizationServerSettings;
import org.springframework.security.oauth2.server.authorization.settings.ClientSettings;
import org.springframework.security.oauth2.server.authorization.settings.TokenSettings;
import org.springframework.security.provisioning.InMemoryUserDetailsManager;
import org.springframework.security.web.SecurityFilterChain;
import org.springframework.security.web.authentication.LoginUrlAuthenticationEntryPoint;
import org.springframework.security.web.util.matcher.MediaTypeRequestMatcher;
import org.springframework.http.MediaType;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * Spring Authorization Server, configured for the tests. It listens on free loopback ports, prints one line of JSON that says on which, and ends when its standard
 * input does.
 */
@SpringBootApplication
public class Server {
    private static JsonNode options;

    public static void main(String[] arguments) throws IOException {
        PrintStream out = System.out;
        // Its log goes to the standard output.
        System.setOut(System.err);
        options = JsonMapper.shared().readTree(arguments[0]);
        JsonNode tls = options.get("tls");
        SpringApplication application = new SpringApplication(Server.class);
        application.setDefaultProperties(Map.of(
                "logging.level.root", "warn",
                "spring.main.banner-mode", "off",
                "server.address", "127.0.0.1",
                "server.port", "0",
                "server.ssl.certificate", tls.get("certificate").asString(),
                "server.ssl.certificate-private-key", tls.get("key").asString(),
                "server.ssl.trust-certificate", tls.get("trusted").asString(),
                // A certificate is asked for and not insisted on: most clients have none.
                "server.ssl.client-auth", "want"));
        var context = (ServletWebServerApplicationContext) application.run();
        var tomcat = (TomcatWebServer) context.getWebServer();
        int plain = 0;
        for (Connector connector : tomcat.getTomcat().getService().findConnectors()) {
            if (!connector.getSecure()) plain = connector.getLocalPort();
        }
        out.println("{\"port\": %d, \"tls_port\": %d}".formatted(plain, tomcat.getPort()));
        System.in.transferTo(OutputStream.nullOutputStream());
        System.exit(0);
    }

    @Bean
    WebServerFactoryCustomizer<TomcatServletWebServerFactory> plainConnector() {
        return factory -> {
            Connector connector = new Connector();
            connector.setPort(0);
            connector.setProperty("address", "127.0.0.1");
            factory.addAdditionalConnectors(connector);
        };
    }

    @Bean
    @Order(1)
    SecurityFilterChain protocol(HttpSecurity http) throws Exception {
        http.oauth2AuthorizationServer(server -> {
            http.securityMatcher(server.getEndpointsMatcher());
            server.oidc(oidc -> oidc.clientRegistrationEndpoint(withDefaults()))
                    .pushedAuthorizationRequestEndpoint(withDefaults())
                    .deviceAuthorizationEndpoint(withDefaults())
                    // There is no page of ours to send the person to.
                    .deviceVerificationEndpoint(device -> device.deviceVerificationResponseHandler((request, response, authentication) -> response.setStatus(204)));
        });
        http.authorizeHttpRequests(requests -> requests.anyRequest().authenticated());
        http.oauth2ResourceServer(resource -> resource.jwt(withDefaults()));
        // People are sent to sign in. A client that did not authenticate must get its 401.
        http.exceptionHandling(errors -> errors.defaultAuthenticationEntryPointFor(
                new LoginUrlAuthenticationEntryPoint("/login"), new MediaTypeRequestMatcher(MediaType.TEXT_HTML)));
        return http.build();
    }

    @Bean
    @Order(2)
    SecurityFilterChain people(HttpSecurity http) throws Exception {
        return http.authorizeHttpRequests(requests -> requests.anyRequest().authenticated()).formLogin(withDefaults()).build();
    }

    @Bean
    UserDetailsService users() {
        JsonNode user = options.get("user");
        // Logging in is not what is tested here, and a slow hash would be most of the time.
        return new InMemoryUserDetailsManager(
                User.withUsername(user.get("name").asString()).password("{noop}" + user.get("password").asString()).roles("USER").build());
    }

    @Bean
    AuthorizationServerSettings settings() {
        // No issuer is configured: it is where the request went.
        return AuthorizationServerSettings.builder().build();
    }

    @Bean
    RegisteredClientRepository clients() {
        return new InMemoryRegisteredClientRepository(options.get("clients").propertyStream().map(Server::client).toList());
    }

    private static RegisteredClient client(Map.Entry<String, JsonNode> entry) {
        JsonNode described = entry.getValue();
        var method = described.get("method").asString();
        var builder = RegisteredClient.withId(UUID.randomUUID().toString())
                .clientId(entry.getKey())
                .clientAuthenticationMethod(new ClientAuthenticationMethod(method))
                .redirectUri(options.get("redirect_uri").asString())
                .scopes(scopes -> scopes.addAll(List.of("openid", "read", "write")));
        described.get("grants").forEach(grant -> builder.authorizationGrantType(new AuthorizationGrantType(grant.asString())));
        // What permits to register clients is a token with this scope, and no other.
        if (entry.getKey().equals("api")) builder.scope("client.create");
        // A client that signs with its secret needs it as it is; elsewhere its beginning names the hash.
        if (described.hasNonNull("secret")) {
            builder.clientSecret((method.equals("client_secret_jwt") ? "" : "{noop}") + described.get("secret").asString());
        }

        var settings = ClientSettings.builder().requireProofKey(true).requireAuthorizationConsent(described.path("consent").asBoolean(false));
        if (described.hasNonNull("jwks_uri")) settings.jwkSetUrl(described.get("jwks_uri").asString());
        if (described.hasNonNull("subject")) settings.x509CertificateSubjectDN(described.get("subject").asString());
        if (method.equals("client_secret_jwt")) settings.tokenEndpointAuthenticationSigningAlgorithm(MacAlgorithm.HS256);
        if (method.equals("private_key_jwt")) {
            settings.tokenEndpointAuthenticationSigningAlgorithm(SignatureAlgorithm.from(described.get("alg").asString()));
        }
        var tokens = TokenSettings.builder().accessTokenTimeToLive(Duration.ofHours(1)).reuseRefreshTokens(false);
        tokens.x509CertificateBoundAccessTokens(method.endsWith("tls_client_auth"));
        return builder.clientSettings(settings.build()).tokenSettings(tokens.build()).build();
    }
}

package dev.remint.okhttp;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.remint.Client;
import dev.remint.RemintException;
import java.io.IOException;
import okhttp3.OkHttpClient;
import okhttp3.Request;
import org.junit.jupiter.api.Test;

class JavaCallersTest {
    @Test
    void javaReadsAsWell() {
        Client client = Client.fixed("token", "https://api.example");
        OkHttpClient http = RemintOkHttp.remint(new OkHttpClient.Builder(), client).build();
        Request elsewhere = new Request.Builder().url("https://other.example/").build();
        IOException refused = assertThrows(IOException.class, () -> http.newCall(elsewhere).execute());
        RemintException why = ((RemintIOException) refused).getCause();
        assertEquals("origin_not_allowed", why.getCode());
        assertEquals(why.getMessage(), refused.getMessage());
    }

    @Test
    void theTransportIsAnOption() {
        OkHttpTransport transport = new OkHttpTransport(new OkHttpClient());
        Client client = Client.builder("phoenix-wallet").clientId("id").clientSecret("secret").http(transport).build();
        client.close();
    }
}

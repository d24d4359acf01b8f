package dev.remint
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.Assertions.*
import kotlinx.coroutines.runBlocking
class SmokeTest {
    @Test fun `it works`() = runBlocking {
        val s = TestServer(); val n = Notices()
        val c = client(s) { onNotice(n) }
        assertNull(c.peek())
        val t = c.token()
        assertEquals("T1", t.accessToken)
        assertSame(c.token(), c.token())
        assertEquals(listOf("fetched:cold"), n.all.toList())
        println(s.requests.first().headers)
        println(t); println(t.expiresIn())
        val f = Client.fixed("abc", "https://api.example.com")
        println(f.token().expiresAt); println(f.token().expiresIn())
        println(f.headers("GET", "https://api.example.com/x").keys)
        println(thrown<UsageException> { f.headersBlocking("GET", "https://other.example/x") })
        println(thrown<UsageException> { Client("phoenix-walet") })
        println(thrown<UsageException> { Client("phoenix-wallet", "a", "b") { variable("tokenEndpont", "x") } })
        f.close(); println(thrown<UsageException> { f.tokenBlocking() })
    }
}

package dev.remint

import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Assumptions.assumeTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.Timeout
import org.junit.jupiter.api.io.TempDir
import java.lang.ref.WeakReference
import java.nio.file.Files
import java.nio.file.Path
import java.time.Duration
import java.util.concurrent.CompletableFuture
import java.util.concurrent.TimeUnit
import kotlin.system.exitProcess

/** What needs a process of its own: the native library's loading, and the process's end. */
@Timeout(240)
class ProcessTest {
    private fun java(vararg arguments: String): Pair<Int, String> = run(command(*arguments))

    private fun command(vararg arguments: String): List<String> {
        val java = Path.of(System.getProperty("java.home"), "bin", "java").toString()
        return listOf(java, "-cp", System.getProperty("java.class.path"), "-XX:TieredStopAtLevel=1", *arguments)
    }

    private fun run(command: List<String>): Pair<Int, String> {
        val process = ProcessBuilder(command).redirectErrorStream(true).apply { environment().remove("XDG_CACHE_HOME") }.start()
        val output = process.inputStream.readAllBytes().decodeToString()
        assertTrue(process.waitFor(60, TimeUnit.SECONDS), output)
        return process.exitValue() to output
    }

    private fun main(name: String): String = "dev.remint.${name}Main"

    private fun assertNamesTheFix(output: String) {
        val lines = output.lines().filter { it.startsWith("> ") }
        assertEquals(2, lines.size, output)
        for (line in lines) {
            assertTrue("UsageException invalid_option" in line && "jna.tmpdir" in line && "jna.boot.library.path" in line && "noexec" in line, line)
        }
    }

    @Test
    fun `a temporary folder that cannot be written to is told with the fix, each time`(@TempDir folder: Path) {
        // Below a file: not even root can make a folder there.
        val unwritable = Files.createFile(folder.resolve("file")).resolve("folder")
        assertNamesTheFix(java("-Djna.tmpdir=$unwritable", main("Load")).second)
        assertNamesTheFix(java("-Duser.home=$unwritable", "-Djava.io.tmpdir=$unwritable", main("Load")).second)
    }

    @Test
    fun `a temporary folder that is mounted noexec is told with the fix, and the fix helps`(@TempDir folder: Path) {
        val sealed = Files.createDirectory(folder.resolve("sealed"))
        val open = Files.createDirectory(folder.resolve("open"))
        val mounted = listOf("unshare", "-m", "sh", "-c", "mount -t tmpfs -o noexec tmpfs '$sealed' && exec \"$@\"", "sh")
        assumeTrue(runCatching { run(mounted + "true").first == 0 }.getOrDefault(false), "this user may not mount")
        assertNamesTheFix(run(mounted + command("-Djna.tmpdir=$sealed", main("Load"))).second)
        val (_, output) = run(mounted + command("-Djava.io.tmpdir=$sealed", "-Djna.tmpdir=$open", main("Load")))
        assertTrue("with http: T1" in output, output)
    }

    @Test
    fun `a platform without a library is told by its name`() {
        val (_, output) = java("-Djna.prefix=amiga-m68k", "-Djna.boot.library.path=${jnaFolder()}", main("Load"))
        assertTrue("UsageException invalid_option" in output && "`amiga-m68k`" in output, output)
    }

    @Test
    fun `without java net http the option http is required, and enough`() {
        val (_, output) = java("--limit-modules", "java.base,java.logging,jdk.unsupported", main("Load"))
        assertTrue("UsageException invalid_option" in output && "`http`" in output, output)
        assertTrue("with http: T1" in output, output)
    }

    @Test
    fun `nobody who has stopped waiting keeps the process alive for longer than a request may take`() {
        val (status, output) = java(main("Leave"), "never")
        assertEquals(0, status, output)
        assertTrue("left" in output, output)
    }

    @Test
    fun `a refresh token that was sent is saved before the process ends`() {
        val (status, output) = java(main("Leave"), "late")
        assertEquals(0, status, output)
        assertEquals(listOf("left", "saved R2"), output.lines().filter { it.isNotBlank() && !it.startsWith("WARNING") })
    }

    @Test
    fun `clients that nobody closes leave nothing behind`() {
        val clients = List(50) { WeakReference(Client.fixed("abc").also { it.tokenBlocking() }) }
        val waiting = List(50) { client(TestServer { CompletableFuture() }).also { it.tokenAsync() }.let(::WeakReference) }
        var left = clients.size + waiting.size
        for (attempt in 1..200) {
            System.gc()
            left = (clients + waiting).count { it.get() != null }
            if (left == 0) break
            Thread.sleep(25)
        }
        assertEquals(0, left)
        val ours = Thread.getAllStackTraces().keys.filter { it.name == "remint" && !it.isDaemon }
        assertEquals(emptyList<Thread>(), ours)
    }

    /** A folder with JNA's own library in it, for a process whose JNA cannot find its own. */
    private fun jnaFolder(): Path {
        val folder = Files.createTempDirectory("jna")
        val resource = "/com/sun/jna/${com.sun.jna.Platform.RESOURCE_PREFIX}/${System.mapLibraryName("jnidispatch")}"
        val file = folder.resolve(System.mapLibraryName("jnidispatch"))
        com.sun.jna.Native::class.java.getResourceAsStream(resource)!!.use { Files.copy(it, file) }
        file.toFile().deleteOnExit()
        folder.toFile().deleteOnExit()
        return folder
    }
}

object LoadMain {
    @JvmStatic
    fun main(arguments: Array<String>) {
        repeat(2) {
            try {
                Client("phoenix-wallet", "id", "s3cret")
            } catch (error: RemintException) {
                println("> ${error.javaClass.simpleName} ${error.code}: ${error.message}")
            }
        }
        try {
            println("with http: ${client(TestServer(), SystemClock).tokenBlocking().accessToken}")
        } catch (error: RemintException) {
            println("with http: ${error.code}")
        }
        System.out.flush()
        exitProcess(0)
    }
}

object LeaveMain {
    @JvmStatic
    fun main(arguments: Array<String>) {
        val answer = CompletableFuture<HttpResponse>()
        val client = Client("rapidomize", "app-7", "s3cret") {
            variable("tokenEndpoint", "https://auth.example.com/token")
            variable("authorizationEndpoint", "https://auth.example.com/authorize")
            requestTimeout(Duration.ofSeconds(2))
            http { answer }
        }
        client.withSubject("alice", "R1") { refreshToken, _ -> println("saved $refreshToken") }.tokenAsync()
        if ("late" in arguments) {
            // Answered once the process is ending.
            Runtime.getRuntime().addShutdownHook(Thread { answer.complete(TestServer.token("T2", more = ""","refresh_token":"R2"""")) })
        }
        println("left")
    }
}

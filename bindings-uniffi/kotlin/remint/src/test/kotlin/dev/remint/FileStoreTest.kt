package dev.remint

import dev.remint.stores.StoreContract
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertInstanceOf
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir
import java.nio.file.Files
import java.nio.file.Path
import java.nio.file.attribute.FileTime
import java.nio.file.attribute.PosixFilePermissions
import java.time.Duration
import java.util.concurrent.TimeUnit

class FileStoreTest : StoreContract() {
    @TempDir lateinit var temporary: Path

    private val directory by lazy { temporary.resolve("tokens") }
    private val folder get() = directory.resolve(KEY)
    private val versions get() = Files.list(folder).use { files -> files.map { it.fileName.toString() }.filter { !it.startsWith(".") }.sorted().toList() }

    override fun store(): Store = FileStore(directory)

    @Test
    fun `a state is one JSON object in a file of its owner's`() {
        val store = store()
        store.lock(KEY, "a", MINUTE)
        store.put("""{"remint":1}""")
        assertEquals(listOf("0000000000000001", "0000000000000002"), versions)
        val text = Files.readString(folder.resolve(versions.last()))
        assertTrue(Regex("""\{"expires":\d{13},"lease":\{"owner":"a","until":\d{13}},"record":"\{\\"remint\\":1}"}""").matches(text), text)
        assertEquals("rw-------", PosixFilePermissions.toString(Files.getPosixFilePermissions(folder.resolve(versions.last()))))
        for (made in listOf(directory, folder)) assertEquals("rwx------", PosixFilePermissions.toString(Files.getPosixFilePermissions(made)))
    }

    @Test
    fun `what another language wrote is read`() {
        val later = System.currentTimeMillis() + 60_000
        write(7, """{"record": "{\"remint\":1,\"note\":\"\u0061\"}", "lease": null, "expires": $later, "more": [1]}""")
        write(6, """{"expires": $later, "lease": null, "record": "an older one"}""")
        assertEquals("""{"remint":1,"note":"a"}""", store().load(KEY))
        write(8, """{"expires": 0, "lease": {"owner": "p", "until": $later}, "record": null}""")
        assertNull(store().load(KEY))
        assertTrue((store().lock(KEY, "q", MINUTE) as Held).retryIn > Duration.ofSeconds(50))
    }

    @Test
    fun `what is no state is handed on as it is, for the core to refuse, and can be replaced`() {
        val later = System.currentTimeMillis() + 60_000
        val texts = listOf("", "{\"expires\": $later, \"lea", "[1]", "{}", """{"expires":"soon","lease":null,"record":null}""", """{"expires":$later,"lease":3,"record":null}""")
        texts.forEachIndexed { index, text ->
            write(index + 1L, text)
            assertEquals(text, store().load(KEY))
        }
        assertEquals(texts.last(), (store().lock(KEY, "a", MINUTE) as Locked).record)
        assertInstanceOf(Saved::class.java, store().put("whole", expect = texts.last(), unlock = "a"))
        assertEquals("whole", store().load(KEY))
    }

    @Test
    fun `what a process left that ended in mid-write is no version, and is swept after an hour`() {
        store().put("one")
        val torn = listOf(".tmp-old", ".tmp-new").map { Files.writeString(folder.resolve(it), "{\"expires\": 99") }
        Files.setLastModifiedTime(torn[0], FileTime.fromMillis(System.currentTimeMillis() - 3_700_000))
        assertEquals("one", store().load(KEY))
        assertInstanceOf(Saved::class.java, store().put("two", expect = "one"))
        assertEquals(listOf(false, true), torn.map(Files::exists))
    }

    @Test
    fun `the last sixteen versions are left alone, and older ones go`() {
        counted(16)
        assertEquals(16, versions.size)
        counted(40, from = 16)
        assertEquals((25..40).map { "%016d".format(it) }, versions)
    }

    @Test
    fun `a version that was made too late counts for nothing`() {
        counted(20)
        // As by a process that was stopped after it had seen version 2, when 3 was still to come.
        write(3, """{"expires": ${System.currentTimeMillis() + 60_000}, "lease": null, "record": "late"}""")
        assertEquals("20", store().load(KEY))
        store().put("21", expect = "20")
        assertFalse("0000000000000003" in versions)
    }

    private fun counted(to: Int, from: Int = 0) = store().run {
        for (number in from + 1..to) put("$number", expect = if (number == 1) null else "${number - 1}")
    }

    @Test
    fun `a folder that others can write to is refused, and so is what is none`() {
        Files.createDirectory(directory, PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")))
        Files.setPosixFilePermissions(directory, PosixFilePermissions.fromString("rwxrwx---"))
        val open = thrown<UsageException> { store() }
        assertEquals("invalid_option", open.code)
        assertTrue("chmod 700" in open.message!!)
        val file = Files.writeString(temporary.resolve("file"), "")
        assertEquals("invalid_option", thrown<UsageException> { FileStore(file) }.code)
        for (key in listOf("", "..", "a/b", "a\\b", "ä")) assertEquals("invalid_option", thrown<UsageException> { FileStore(temporary.resolve("x")).load(key) }.code)
    }

    @Test
    fun `two processes never both have the lease`() {
        val store = store()
        val (first, second) = List(2) { program("count", "$directory", "100") }
        for (process in listOf(first, second)) assertTrue(process.waitFor(120, TimeUnit.SECONDS), "a process has not ended")
        assertEquals(listOf(0, 0), listOf(first, second).map { it.exitValue() }, "${first.said()}${second.said()}")
        assertEquals("200", store.load(KEY))
    }

    @Test
    fun `a full disk and a folder without permission are a store that is down, and it is still read`() {
        store().put("one")
        // No file may grow: that is how a program meets a full disk.
        val full = program("write", "$directory", shell = "ulimit -f 0 && exec")
        assertEquals("down: nothing can be written to the store's folder: File too large; read: one", full.finished())
        val modes = listOf(folder, directory).associateWith { Files.getPosixFilePermissions(it) }
        modes.keys.forEach { Files.setPosixFilePermissions(it, PosixFilePermissions.fromString("r-x------")) }
        // Permissions bind the superuser, too, once its capabilities are gone.
        val bound = if (System.getProperty("user.name") == "root") "exec setpriv --inh-caps=-all --bounding-set=-all" else "exec"
        assertEquals("down: nothing can be written to the store's folder: permission denied; read: one", program("write", "$directory", shell = bound).finished())
        modes.forEach(Files::setPosixFilePermissions)
        assertEquals("one", store().load(KEY))
    }

    @Test
    fun `a client with a file store looks at it every half second, unless the policy says otherwise`() {
        val server = TestServer()
        val clock = TestClock(System.currentTimeMillis())
        val (one, other) = List(2) { client(server, clock) { store(store()) } }
        assertEquals("T1", one.tokenBlocking().accessToken)
        assertEquals("T1", other.tokenBlocking().accessToken)
        assertEquals(1, server.count)
        // What is given back beside the callers has to end before the folder does.
        listOf(one, other).forEach(Client::close)
        assertEquals("invalid_option", thrown<UsageException> { client(server, clock) { store(store()); policy(mapOf("storeCheck" to -1)) } }.code)
    }

    private fun write(version: Long, text: String) {
        Files.createDirectories(folder)
        Files.writeString(folder.resolve("%016d".format(version)), text)
    }

    private fun program(vararg arguments: String, shell: String = "exec"): Process {
        val java = listOf("java", "-XX:-UsePerfData", "-cp", System.getProperty("java.class.path"), "dev.remint.FileStoreProgram") + arguments
        return ProcessBuilder(listOf("sh", "-c", "$shell \"$@\"", "sh") + java).redirectErrorStream(true).start()
    }

    private fun Process.said(): String = inputStream.bufferedReader().readText().trim()

    private fun Process.finished(): String = said().also { assertTrue(waitFor(60, TimeUnit.SECONDS)) }
}

/** A process with a file store. */
object FileStoreProgram {
    private const val KEY = "b0a1-_Z"

    @JvmStatic
    fun main(arguments: Array<String>) {
        val directory = Path.of(arguments[1])
        val store = FileStore(directory)
        if (arguments[0] == "count") return count(store, "${ProcessHandle.current().pid()}", arguments[2].toInt())
        val said = try {
            store.save(KEY, "one", "two", Duration.ofMinutes(1), null).toString()
        } catch (down: StoreDownException) {
            "down: ${down.message}".replace(" `$directory/$KEY`", "")
        }
        println("$said; read: ${store.load(KEY)}")
    }

    /** Adds to a number under the lease: without it, one would be lost. */
    private fun count(store: Store, owner: String, times: Int) {
        var done = 0
        while (done < times) {
            when (val lock = store.lock(KEY, owner, Duration.ofMinutes(1))) {
                is Held -> Thread.sleep(1)
                is Locked -> {
                    val before = lock.record
                    val saved = store.save(KEY, before, "${(before ?: "0").toInt() + 1}", Duration.ofMinutes(1), null)
                    check(saved is Saved) { "somebody else wrote under the lease" }
                    store.lock(KEY, owner, Duration.ZERO)
                    done++
                }
            }
        }
    }
}

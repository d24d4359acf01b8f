package dev.remint

import java.io.FileNotFoundException
import java.io.IOException
import java.nio.ByteBuffer
import java.nio.channels.FileChannel
import java.nio.file.AccessDeniedException
import java.nio.file.FileAlreadyExistsException
import java.nio.file.Files
import java.nio.file.LinkOption
import java.nio.file.NoSuchFileException
import java.nio.file.Path
import java.nio.file.StandardOpenOption.CREATE_NEW
import java.nio.file.StandardOpenOption.READ
import java.nio.file.StandardOpenOption.WRITE
import java.nio.file.attribute.BasicFileAttributes
import java.nio.file.attribute.FileAttribute
import java.nio.file.attribute.PosixFilePermission
import java.nio.file.attribute.PosixFilePermissions
import java.security.SecureRandom
import java.time.Duration
import java.util.concurrent.ThreadLocalRandom

/**
 * A [Store] of files, for the processes of one machine: command-line tools, cron jobs, a service with several workers. The other languages' file
 * stores read and write the same files.
 *
 * A folder for each key holds numbered versions, of which the highest counts. The next version comes into being by a hard link, which one process
 * alone can make: there is no lock that a process could leave behind, and a file that was half written is never a version.
 *
 * A client with a file store looks at it every half second while tokens are asked for, unless the policy's `storeCheck` says otherwise.
 *
 * @param directory the folder, which is made with mode 0700 if it is missing. It must be on a file system with hard links, and of one machine
 * @throws UsageException if the folder cannot be made, or if others may write to it
 */
public class FileStore(private val directory: Path) : Store {
    init {
        try {
            if (!Files.isDirectory(directory)) Files.createDirectories(directory, *FOLDER_MODE)
            val mode = if (IS_POSIX) Files.getPosixFilePermissions(directory) else emptySet()
            if (mode.any(OTHERS_WRITE::contains)) throw misuse("others can write to the store's folder `$directory`: take that from them with `chmod 700`")
        } catch (refused: IOException) {
            throw misuse("the store's folder `$directory` cannot be used: name one that this process may make or write to", refused)
        }
    }

    override fun load(key: String): String? = reading { now(folder(key)).second.record }

    override fun lock(key: String, owner: String, ttl: Duration): LockResult = change(key) { state, now ->
        val lease = state.lease
        when {
            ttl.isZero && lease?.owner != owner -> Step(null, Locked(state.record))
            ttl.isZero -> Step(State(state.expires, null, state.record), Locked(state.record))
            lease != null && lease.owner != owner && lease.until > now -> Step(null, Held(Duration.ofMillis(lease.until - now), state.record))
            else -> Step(State(state.expires, Lease(owner, now + ttl.toMillis()), state.record), Locked(state.record))
        }
    }

    override fun save(key: String, expect: String?, record: String, ttl: Duration, unlock: String?): SaveResult = change(key) { state, now ->
        when {
            // Written already, by a link that could not be told from one that came too late.
            isRepeated && state.record == record -> Step(null, Saved())
            state.record != expect -> Step(null, Conflict(state.record))
            else -> Step(State(now + ttl.toMillis(), state.lease.takeIf { it?.owner != unlock }, record), Saved())
        }
    }

    override fun toString(): String = "FileStore($directory)"

    /** One compare-and-swap: what is there now, what is to be there instead, and again if somebody was faster. */
    private fun <T> change(key: String, decide: Turn.(state: State, now: Long) -> Step<T>): T {
        val folder = folder(key)
        val turn = Turn()
        repeat(TRIES) {
            val (version, state) = reading { now(folder) }
            val step = turn.decide(state, System.currentTimeMillis())
            if (step.next == null || put(folder, version + 1, step.next)) return step.result
            turn.isRepeated = true
            // Those who met would meet again.
            Thread.sleep(ThreadLocalRandom.current().nextLong(1, MAX_PAUSE))
        }
        throw StoreDownException("the store's folder `$folder` is changed all the time by others: see which processes use it")
    }

    /** The highest version and what it says: a folder without one says nothing. */
    private fun now(folder: Path): Pair<Long, State> {
        repeat(TRIES) {
            val version = versions(folder).maxOrNull() ?: return 0L to EMPTY
            try {
                return version to state(Files.readAllBytes(folder.resolve(name(version))))
            } catch (_: NoSuchFileException) {
                // Somebody wrote the next one meanwhile.
            }
        }
        throw StoreDownException("the store's folder `$folder` is changed all the time by others: see which processes use it")
    }

    /** Makes the version, if nobody else has. */
    private fun put(folder: Path, version: Long, state: State): Boolean {
        val draft = folder.resolve(DRAFT + base64(ByteArray(DRAFT_BYTES).also(RANDOM::nextBytes)))
        val made = folder.resolve(name(version))
        try {
            Files.createDirectories(folder, *FOLDER_MODE)
            Files.newByteChannel(draft, setOf(CREATE_NEW, WRITE), *FILE_MODE).use { channel ->
                val bytes = ByteBuffer.wrap(state.text().toByteArray())
                while (bytes.hasRemaining()) channel.write(bytes)
                (channel as? FileChannel)?.force(true)
            }
            Files.createLink(made, draft)
        } catch (_: FileAlreadyExistsException) {
            return false
        } catch (refused: IOException) {
            throw StoreDownException("nothing can be written to the store's folder `$folder`: ${reason(refused)}", refused)
        } finally {
            discard(draft)
        }
        // Whoever was stopped between reading and linking may have made a version that was there and gone: of the last few, none ever goes.
        val all = versions(folder)
        if (all.any { it >= version + KEPT }) {
            discard(made)
            return false
        }
        flush(folder)
        all.filter { it <= version - KEPT }.forEach { discard(folder.resolve(name(it))) }
        sweep(folder)
        return true
    }

    private fun versions(folder: Path): List<Long> {
        val found = names(folder) ?: return emptyList()
        // A listing that raced with a write may have missed it.
        return (found.ifEmpty { names(folder).orEmpty() }).filter(VERSION::matches).map(String::toLong)
    }

    private fun names(folder: Path): List<String>? = try {
        Files.newDirectoryStream(folder).use { files -> files.map { it.fileName.toString() } }
    } catch (_: NoSuchFileException) {
        null
    } catch (wrapped: java.nio.file.DirectoryIteratorException) {
        throw wrapped.cause ?: wrapped
    }

    /** A power cut must not take back what was handed out. */
    private fun flush(folder: Path) {
        // Windows has no such thing as an open folder.
        if (IS_POSIX) FileChannel.open(folder, READ).use { it.force(true) }
    }

    /** Removes what processes that ended in mid-write have left. */
    private fun sweep(folder: Path) {
        val old = System.currentTimeMillis() - ABANDONED
        for (name in names(folder).orEmpty().filter { it.startsWith(DRAFT) }) {
            val file = folder.resolve(name)
            try {
                if (Files.readAttributes(file, BasicFileAttributes::class.java, LinkOption.NOFOLLOW_LINKS).lastModifiedTime().toMillis() < old) discard(file)
            } catch (_: IOException) {
                // Another process has swept it.
            }
        }
    }

    private fun discard(file: Path) {
        try {
            Files.deleteIfExists(file)
        } catch (_: IOException) {
            // It is in nobody's way, and goes with a later write.
        }
    }

    private fun folder(key: String): Path {
        if (!KEY.matches(key)) throw misuse("a key of the store holds letters, digits, `-` and `_`, and nothing else")
        return directory.resolve(key)
    }

    private inline fun <T> reading(read: () -> T): T = try {
        read()
    } catch (refused: IOException) {
        throw StoreDownException("the store's folder `$directory` cannot be read: ${reason(refused)}", refused)
    }

    /** What is stored at one moment. Printing it shows nothing. */
    private class State(val expires: Long, val lease: Lease?, val record: String?) {
        fun text(): String = toJson(
            "store",
            linkedMapOf("expires" to expires, "lease" to lease?.let { linkedMapOf("owner" to it.owner, "until" to it.until) }, "record" to record),
        )
    }

    private class Lease(val owner: String, val until: Long)

    /** What a version leads to: the next one, unless nothing is to change, and the answer. */
    private class Step<T>(val next: State?, val result: T)

    private class Turn {
        /** Whether this is not the first try. */
        var isRepeated = false
    }

    private companion object {
        const val TRIES = 100
        const val MAX_PAUSE = 6L

        /** How many versions are left alone. All languages keep as many: it is what makes a link that succeeded the first one. */
        const val KEPT = 16
        const val DRAFT = ".tmp-"
        const val DRAFT_BYTES = 12
        const val ABANDONED = 3_600_000L

        /** The largest number that every language reads. */
        const val NEVER = (1L shl 53) - 1
        val KEY = Regex("[A-Za-z0-9_-]{1,200}")
        val VERSION = Regex("[0-9]{16}")
        val EMPTY = State(0, null, null)
        val RANDOM = SecureRandom()
        val IS_POSIX = "posix" in java.nio.file.FileSystems.getDefault().supportedFileAttributeViews()
        val OTHERS_WRITE = setOf(PosixFilePermission.GROUP_WRITE, PosixFilePermission.OTHERS_WRITE)
        val FOLDER_MODE = mode("rwx------")
        val FILE_MODE = mode("rw-------")

        fun mode(text: String): Array<FileAttribute<*>> =
            if (IS_POSIX) arrayOf(PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString(text))) else emptyArray()

        fun name(version: Long): String = "%016d".format(java.util.Locale.ROOT, version)

        /** What a file says. What is no state of ours is handed on as a record, which the core refuses and says so. */
        fun state(bytes: ByteArray): State {
            val text = bytes.decodeToString()
            return try {
                val members = fromJson(text) as Map<*, *>
                val lease = members["lease"] as Map<*, *>?
                val expires = members["expires"] as Long
                val record = (members["record"] as String?).takeIf { expires > System.currentTimeMillis() }
                State(expires, lease?.let { Lease(it["owner"] as String, it["until"] as Long) }, record)
            } catch (_: RuntimeException) {
                State(NEVER, null, text)
            }
        }

        /** The system's reason, without the path that comes before it. */
        fun reason(refused: IOException): String = when (refused) {
            is AccessDeniedException -> "permission denied"
            is FileNotFoundException -> "not found"
            is java.nio.file.FileSystemException -> refused.reason ?: refused.javaClass.simpleName
            else -> refused.message ?: refused.javaClass.simpleName
        }
    }
}

package dev.remint

import com.sun.jna.Platform
import dev.remint.core.Core
import dev.remint.core.CoreException
import dev.remint.core.Registrar
import dev.remint.core.Secret
import dev.remint.core.uniffiEnsureInitialized

/** The core's library, which JNA unpacks from the jar into a temporary folder. */
internal object NativeLibrary {
    // A class that failed to initialize stays so: there is one verdict for the life of the process.
    private val problem: Throwable? = runCatching { uniffiEnsureInitialized() }.exceptionOrNull()

    fun newCore(options: String): Core = loaded { Core(Secret(options)) }

    fun newRegistrar(options: String): Registrar = loaded { Registrar(Secret(options)) }

    private inline fun <T> loaded(make: () -> T): T {
        if (problem != null) throw misuse(explain(problem), problem)
        try {
            return make()
        } catch (refused: CoreException.Refused) {
            throw refused.failure.toException()
        }
    }

    private fun explain(problem: Throwable): String {
        val platform = Platform.RESOURCE_PREFIX
        val resource = "$platform/${System.mapLibraryName("remint_ffi")}"
        val isPacked = javaClass.classLoader?.getResource(resource) != null
        return if (Platform.isAndroid() || isPacked) {
            "the native library cannot be loaded from the temporary folder: point the system property `jna.tmpdir` to a folder that is " +
                "writable and not mounted `noexec`, or unpack `$resource` of the jar and point `jna.library.path` to its folder " +
                "and `jna.boot.library.path` to one with JNA's own"
        } else {
            "there is no native library for the platform `$platform` in this jar: use the jar for it, or build the library " +
                "and point the system property `jna.library.path` to its folder"
        }
    }
}

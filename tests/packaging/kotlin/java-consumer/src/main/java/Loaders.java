import java.io.File;
import java.net.URL;
import java.net.URLClassLoader;
import java.util.ArrayList;

/** The same program twice in one process, each with a class loader of its own, as application servers have it. */
final class Loaders {
    public static void main(String[] words) throws Exception {
        var urls = new ArrayList<URL>();
        for (String path : System.getProperty("java.class.path").split(File.pathSeparator)) urls.add(new File(path).toURI().toURL());
        for (int number = 0; number < 2; number++) {
            try (var loader = new URLClassLoader(urls.toArray(URL[]::new), ClassLoader.getPlatformClassLoader())) {
                var main = loader.loadClass("First").getDeclaredMethod("main", String[].class);
                main.setAccessible(true);
                main.invoke(null, (Object) words);
            }
        }
    }

    private Loaders() {}
}

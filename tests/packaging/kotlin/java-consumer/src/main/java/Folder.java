import dev.remint.Client;
import dev.remint.RemintException;

/** What a program is told whose temporary folder is no place for a library: twice the same. */
final class Folder {
    public static void main(String[] words) {
        for (int number = 0; number < 2; number++) {
            try {
                Client.fixed("t", "https://api.example");
                System.out.println("loaded");
            } catch (RemintException error) {
                System.out.println(error.getCode() + ": " + error.getMessage());
            }
        }
    }

    private Folder() {}
}

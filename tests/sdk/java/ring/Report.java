package ring;

import com.scalekit.exceptions.APIException;
import java.util.Locale;
import java.util.Objects;

/** One line per check on standard output, as tests/sdk/run counts them. */
final class Report {
  interface Block {
    void run() throws Exception;
  }

  private final String ring;
  private boolean failed;

  Report(String ring) {
    this.ring = ring;
  }

  /** Runs the block; whatever it throws is a failed check and the ring goes on. */
  void check(String name, Block block) {
    try {
      block.run();
      System.out.println("PASS " + ring + ": " + name);
    } catch (Exception | AssertionError error) {
      failed = true;
      String text = error.toString().replaceAll("\\s+", " ");
      System.out.println("FAIL " + ring + ": " + name + ": " + text.substring(0, Math.min(600, text.length())));
    }
  }

  /** Exit status; the runner also wants this line, so that a ring that dies half-way is not taken for a good one. */
  int end() {
    System.out.println("END " + ring);
    return failed ? 1 : 0;
  }

  static void equal(String what, Object found, Object wanted) {
    if (!Objects.equals(found, wanted)) {
      throw new AssertionError(what + " is " + found + ", expected " + wanted);
    }
  }

  static void holds(boolean condition, String what) {
    if (!condition) {
      throw new AssertionError(what);
    }
  }

  /** The call must throw an APIException with this gRPC code, this error code and this text in its message. */
  static APIException refused(Block call, int grpcCode, String errorCode, String says) throws Exception {
    try {
      call.run();
    } catch (APIException error) {
      equal("gRPC code of " + error.getMessage(), error.getGrpcStatusCode(), grpcCode);
      equal("error code", error.getScalekitErrorCode(), errorCode);
      holds(error.getMessage().toLowerCase(Locale.ROOT).contains(says), "message " + error.getMessage());
      return error;
    }
    throw new AssertionError("not refused; expected gRPC code " + grpcCode);
  }

  static void notFound(Block... calls) throws Exception {
    for (Block call : calls) {
      refused(call, 5, "NOT_FOUND", "");
    }
  }

  static void invalid(String says, Block... calls) throws Exception {
    for (Block call : calls) {
      refused(call, 3, "INVALID_ARGUMENT", says);
    }
  }

  /** By a state that does not allow the call. */
  static void stands(String says, Block... calls) throws Exception {
    for (Block call : calls) {
      refused(call, 9, "FAILED_PRECONDITION", says);
    }
  }
}

package com.scalekit.exceptions;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.Status;
import com.scalekit.grpc.scalekit.v1.errdetails.ErrorInfo;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;

/** What every failed call throws: the gRPC code and the first ErrorInfo, or code 0 for anything but a gRPC status. */
public final class APIException extends RuntimeException {
  private final int grpcStatusCode;
  private final String scalekitErrorCode;
  private final ErrorInfo errorInfo;

  public APIException(String message) {
    super(message);
    grpcStatusCode = 0;
    scalekitErrorCode = null;
    errorInfo = null;
  }

  public APIException(StatusRuntimeException error) {
    super(error.getMessage(), error);
    grpcStatusCode = error.getStatus().getCode().value();
    errorInfo = firstErrorInfo(error);
    scalekitErrorCode = errorInfo == null ? "UNKNOWN_EXCEPTION" : errorInfo.getErrorCode();
  }

  private static ErrorInfo firstErrorInfo(StatusRuntimeException error) {
    Status status = StatusProto.fromThrowable(error);
    for (Any detail : status.getDetailsList()) {
      if (detail.is(ErrorInfo.class)) {
        try {
          return detail.unpack(ErrorInfo.class);
        } catch (InvalidProtocolBufferException malformed) {
          throw new IllegalStateException("ErrorInfo does not decode", malformed);
        }
      }
    }
    return null;
  }

  public int getGrpcStatusCode() {
    return grpcStatusCode;
  }

  public String getScalekitErrorCode() {
    return scalekitErrorCode;
  }

  public ErrorInfo getErrorInfo() {
    return errorInfo;
  }
}

package com.scalekit.api;

/** What a code exchange may need. */
public final class AuthenticationOptions {
  private String codeVerifier;

  public String getCodeVerifier() {
    return codeVerifier;
  }

  public void setCodeVerifier(String codeVerifier) {
    this.codeVerifier = codeVerifier;
  }
}

package com.scalekit.api;

/** What a logout URL may say. */
public final class LogoutUrlOptions {
  private String idTokenHint;
  private String postLogoutRedirectUri;
  private String state;

  public String getIdTokenHint() {
    return idTokenHint;
  }

  public void setIdTokenHint(String idTokenHint) {
    this.idTokenHint = idTokenHint;
  }

  public String getPostLogoutRedirectUri() {
    return postLogoutRedirectUri;
  }

  public void setPostLogoutRedirectUri(String postLogoutRedirectUri) {
    this.postLogoutRedirectUri = postLogoutRedirectUri;
  }

  public String getState() {
    return state;
  }

  public void setState(String state) {
    this.state = state;
  }
}

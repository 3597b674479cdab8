# The image: one static binary on nothing.
#
#   docker build -t mtuscope .                                 compiles here, for the builder's own architecture
#   docker build --platform linux/amd64,linux/arm64 …          for both, under emulation or on builders of each
#   buildah bud -f Dockerfile --build-arg BINARY=prebuilt DIR  takes DIR/mtuscope, which is already compiled

# Which stage hands over the binary: compiled or prebuilt. buildah 1.28 skips the stage that only this default names, so
# it has to be told: --build-arg BINARY=compiled.
ARG BINARY=compiled

FROM rust:1.95-alpine AS compiled
# The cryptography of TLS is in part C.
RUN apk add --no-cache gcc musl-dev libcap-utils
WORKDIR /source
COPY . .
ARG REVISION=unknown
# Where the runbook stands that the agent's pages lead to, as https://wiki.example/mtuscope/RUNBOOK.md; else README's OWNER.
ARG RUNBOOK=
# musl links statically. The cache mounts keep the registry and the dependencies between builds and are not part of the
# layer, so the binary has to be copied out of them.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/source/target,sharing=locked \
    target=$(uname -m)-unknown-linux-musl && \
    MTUSCOPE_REVISION="${REVISION}" MTUSCOPE_RUNBOOK="${RUNBOOK}" cargo build --locked --release --target "$target" -p mtuscope && \
    install -m 0755 "target/$target/release/mtuscope" /mtuscope
# A container that is not root gets no capability from `capabilities.add`; only a file capability gives it one. `+p`
# and not `+ep`: the program raises what it was granted, and starts without what it was not, where `+ep` would forbid
# its very execution. The last one is granted by nobody but the manifests' component root-files.
RUN setcap cap_net_raw,cap_net_admin,cap_dac_read_search+p /mtuscope

# There is no setcap in an empty stage: the binary in the build context already carries its file capabilities, and
# COPY keeps them.
FROM scratch AS prebuilt
COPY mtuscope /mtuscope

FROM ${BINARY} AS binary

FROM scratch
ARG VERSION=0.1.0
ARG REVISION=unknown
# The commit's time in RFC 3339, so that one commit makes one image.
ARG CREATED=1970-01-01T00:00:00Z
ARG SOURCE=https://github.com/OWNER/mtuscope
LABEL org.opencontainers.image.title="mtuscope" \
      org.opencontainers.image.description="Finds why packets of the size that pods send do not arrive." \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.documentation="${SOURCE}/blob/main/README.md" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=binary /mtuscope /mtuscope
# Numeric, so that runAsNonRoot can be checked without a user database.
USER 65532:65532
EXPOSE 9747/tcp
ENTRYPOINT ["/mtuscope"]
CMD ["agent"]

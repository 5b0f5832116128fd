"""A real TUF repository in memory, and a fetcher that serves it: the network of the update tests.

Everything is signed with real keys and verified by the real client; only the transport is in process. A test makes
the server lie by changing `served`, the files as they are on the server.
"""

from datetime import UTC, datetime, timedelta

from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import DownloadHTTPError
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.ngclient import FetcherInterface

METADATA_URL = "https://releases.example/metadata/"
TARGETS_URL = "https://releases.example/targets/"
ROLES = ("root", "timestamp", "snapshot", "targets")


class ReleaseRepository(FetcherInterface):
    """Its metadata end at `later`, in thirty days by default; its keys are new ones unless they are given by role."""

    def __init__(self, keys=None, later=None):
        self.signers = {role: CryptoSigner(keys[role]) if keys else CryptoSigner.generate_ed25519() for role in ROLES}
        self.served = {}  # url -> bytes
        self.reachable = True
        self.cut_after = None  # bytes after which a target's transfer breaks off
        self.requests = []
        later = later or datetime.now(UTC) + timedelta(days=30)
        self.targets = Targets(expires=later)
        self.snapshot = Snapshot(expires=later)
        self.timestamp = Timestamp(expires=later)
        self.root = Root(expires=later)
        for role, signer in self.signers.items():
            self.root.add_key(signer.public_key, role)
        self.root_json = self._signed("root", self.root)
        self.publish()

    def _signed(self, role, content):
        metadata = Metadata(content)
        metadata.sign(self.signers[role])
        return metadata.to_bytes()

    def publish(self):
        """Sign and serve the present state under the next version."""
        version = self.timestamp.version + 1
        for role in (self.targets, self.snapshot, self.timestamp):
            role.version = version
        self.snapshot.meta["targets.json"] = MetaFile(version)
        self.timestamp.snapshot_meta = MetaFile(version)
        self.served[f"{METADATA_URL}{version}.targets.json"] = self._signed("targets", self.targets)
        self.served[f"{METADATA_URL}{version}.snapshot.json"] = self._signed("snapshot", self.snapshot)
        self.served[f"{METADATA_URL}timestamp.json"] = self._signed("timestamp", self.timestamp)

    def rotate_root(self, role):
        """Give `role` a new key, and serve the root that says so."""
        self.root.revoke_key(self.signers[role].public_key.keyid, role)
        self.signers[role] = CryptoSigner.generate_ed25519()
        self.root.add_key(self.signers[role].public_key, role)
        self.root.version += 1
        self.served[f"{METADATA_URL}{self.root.version}.root.json"] = self._signed("root", self.root)
        self.publish()

    def add(self, name, content, custom=None):
        """Publish a target; the url of its content."""
        target = TargetFile.from_data(name, content, ["sha256"])
        if custom is not None:
            target.unrecognized_fields["custom"] = custom
        self.targets.targets[name] = target
        folder, _, base = name.rpartition("/")
        url = f"{TARGETS_URL}{folder}{'/' if folder else ''}{target.hashes['sha256']}.{base}"
        self.served[url] = content
        self.publish()
        return url

    def remove(self, name):
        del self.targets.targets[name]
        self.publish()

    def _fetch(self, url):
        self.requests.append(url)
        if not self.reachable:
            raise ConnectionRefusedError("connection refused")
        if url not in self.served:
            raise DownloadHTTPError(f"no such file: {url}", 404)
        return self._chunks(url)

    def _chunks(self, url):
        content = self.served[url]
        if self.cut_after is not None and url.startswith(TARGETS_URL):
            yield content[: self.cut_after]
            raise ConnectionResetError("connection reset by peer")
        for start in range(0, len(content), 1000):
            yield content[start : start + 1000]

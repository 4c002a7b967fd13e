from vtk_cli.api.stores import StoreMeta
from vtk_cli.store.lmdb_store import ShardWriter, StoreReader
from vtk_cli.store.meta import create_store, shard_of
from vtk_cli.testing.stores import StoreTests


class TestLmdbStore(StoreTests):
    def open(self, folder, videos, failures):
        meta = create_store(folder / "s", StoreMeta(modality="rgb", short_side=64, quality=95, shards=5))
        for shard in range(meta.shards):
            with ShardWriter(folder / "s", shard) as writer:
                for name in [name for name in videos if shard_of(name, meta.shards) == shard]:
                    writer.put(name, videos[name])
                for name in [name for name in failures if shard_of(name, meta.shards) == shard]:
                    writer.fail(name, failures[name])
                writer.commit()
        return StoreReader(folder / "s")

"""Draw any vectors as a map with named groups: `python examples/map_vectors.py`.

The bundled descriptions of the 65 research systems are encoded (a few seconds on a CPU) and drawn; the page
`systems.html` can be explored offline. With `pip install 'polyvec[maps]'` the layout is UMAP's.
"""

from __future__ import annotations

from polyvec import TextEncoder
from polyvec.assess import embedding_map
from polyvec.data import load


def main() -> None:
    documents = load("systems")
    vectors = TextEncoder().encode([document.embedding_text for document in documents])
    rooms = [document.metadata["room"] for document in documents]
    made = embedding_map(vectors, documents, n_clusters=6, name="65 research systems", encoder="all-MiniLM-L6-v2")
    for cluster in made.names:
        print(f"{cluster.count:3d}  {cluster.label}")
    made.with_labels(rooms, "room").save_png("systems.png")
    made.save_html("systems.html")
    print("written to systems.png and systems.html")


if __name__ == "__main__":
    main()

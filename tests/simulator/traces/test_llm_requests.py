from pathlib import Path

from neaptide.simulator.traces.llm_requests import load_llm_requests

HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens"


def test_requests_are_in_order_of_arrival_and_those_at_one_time_in_order_of_the_file(tmp_path: Path) -> None:
    rows = ["1970-01-01 00:00:02.5,1,10", "1970-01-01 00:00:01.9799600,2,20", "1970-01-01 00:00:02.5,3,30"]
    (tmp_path / "code.csv").write_text("\r\n".join([HEADER, *rows]))
    service = load_llm_requests(tmp_path).services["code"]
    assert service.arrivals.tolist() == [1.97996, 2.5, 2.5]
    assert service.context_tokens.tolist() == [2, 1, 3]
    assert service.generated_tokens.tolist() == [20, 10, 30]
    assert service.images.tolist() == [0, 0, 0]


def test_images_and_offsets_of_the_later_publications_are_read(tmp_path: Path) -> None:
    (tmp_path / "multimodal.csv").write_text(
        "TIMESTAMP,NumImages,ContextTokens,GeneratedTokens\n1970-01-01 01:00:00.5+01:00,2,7,8\n"
    )
    service = load_llm_requests(tmp_path).services["multimodal"]
    assert (service.arrivals.tolist(), service.images.tolist()) == ([0.5], [2])


def test_each_file_is_a_service_of_its_own(tmp_path: Path) -> None:
    for name in ("code", "conv"):
        (tmp_path / f"{name}.csv").write_text(f"{HEADER}\n2023-11-16 18:17:03,1,2\n")
    assert list(load_llm_requests(tmp_path).services) == ["code", "conv"]


def test_all_of_the_public_requests_load(traces: Path) -> None:
    loaded = load_llm_requests(traces / "llm_requests")
    assert loaded.bad == []
    assert all(len(service.arrivals) for service in loaded.services.values())

"""The tasks of a sweep, each a function that another process calls: it may be stopped, killed, and called again."""

from typing import Any

from pydantic import SecretStr

from edge import deprivatization
from edge.asking.client import TeacherClient
from edge.asking.link import Link
from edge.asking.same_teacher import identity
from edge.config import Config
from edge.images.local_images import LocalImages, local_images
from edge.learning import card_of
from edge.methods import method_of
from edge.planning.plan import make_plan
from edge.planning.prediction import Terms, predict
from edge.replay import changed, open_source, replay
from edge.run import run
from edge.run_folder import RunFolder
from edge.stopping import StopRequest, stop_on_signal
from edge.sweep.growing import go_on_from, inherited
from edge.sweep.jobs import Job
from edge.sweep.measuring import ask_about_tests, check_teacher_of, measured
from edge.sweep.place import Cloud, Place
from edge.training import Watcher
from shared import datasets, whole_files
from shared.errors import BudgetTooSmall
from shared.protocol import ModelMetadata


def make_generator(place: Place, name: str, config: Config) -> None:
    """Train a generator that several runs share; it asks nothing."""
    folder = place.generator(name)
    state = folder.state[deprivatization.STAGE]
    if folder.generator.exists():
        whole_files.remove(state)  # a kill may have come between the two
        return
    local = _local(place, config)
    folder.claim(config)
    with stop_on_signal() as stop:
        generator, curves = deprivatization.deprivatize(
            local,
            _no_questions,
            config,
            state=state,
            watcher=Watcher(should_stop=stop),
        )
    folder.keep_curves(deprivatization.STAGE, curves)
    folder.keep_generator(generator, card_of(local.name, local.image_shape, local.classes, config))


def meet_teacher(place: Place, dataset: str) -> str:
    """Name and version of the teacher, which is asked once for all students about the test images, with its own key.

    Raises:
        RunMismatch: what was made here before had another teacher.
    """
    test, cloud = datasets.load(dataset, place.data_root).test, place.clouds[dataset]
    key = cloud.key_of_tests(len(test.images))
    with stop_on_signal() as stop, place.teacher(dataset, _any(key, cloud), stop, 0) as teacher:
        check_teacher_of(teacher, place.test_answers(dataset))
        if key is not None:
            ask_about_tests(teacher, test.images, place.test_answers(dataset), Watcher(should_stop=stop))
        return identity(teacher.metadata())


def make_student(place: Place, job: Job) -> dict[str, Any]:
    """Make the student of a cell, by a run or by a replay of another cell's answers, and measure it; its row.

    Raises:
        MekdError: whatever was wrong; the same call goes on from there.
    """
    folder, dataset = place.folder(job.cell), job.cell.dataset
    asking = job.leader or job.cell
    policy = "logits" if asking.response == "soft" else "top1"
    key = place.clouds[dataset].key_of_run(asking.name, asking.budget, policy)
    with stop_on_signal() as stop, place.teacher(dataset, key, stop, job.config.seed) as teacher:
        if job.leader is None:
            _ask(place, job, folder, teacher, stop)
            _check_not_cut_short(job, folder)
            traffic = _traffic_of(folder.results(), place.link)
        else:
            _replay(place, job, folder, stop)
            traffic = _traffic_foreseen(place, job.config, teacher)
    results = folder.results()
    stages = {stage: took["queries"] for stage, took in results["stages"].items()}
    return {
        "queries": sum(stages.values()),
        "queries_by_stage": stages,
        "paid": sum(stages.values()) - inherited(folder) if job.leader is None else 0,
        **traffic,
        "link": place.link.name if place.link else None,
        "seconds": round(sum(took["seconds"] for took in results["stages"].values()), 1),
        **measured(folder, datasets.load(dataset, place.data_root).test, place.test_answers(dataset)),
        "sends": method_of(job.config).sends,
        "config": job.config.model_dump(),
        "software": results["software"],
        "hardware": results["hardware"],
    }


def _ask(place: Place, job: Job, folder: RunFolder, teacher: TeacherClient, stop: StopRequest) -> None:
    if job.known is not None:
        go_on_from(place.folder(job.known), folder)
    if job.generator is not None and not folder.generator.exists():
        made = place.generator(job.generator).generator.read_bytes()
        folder.check(job.config)
        folder.claim(job.config)
        whole_files.write_atomically(folder.generator, made)
    run(job.config, teacher, folder.path, place.data_root, Watcher(should_stop=stop), place.link)


def _check_not_cut_short(job: Job, folder: RunFolder) -> None:
    """A run learns from what a spent key had left; in a comparison it would stand for more than it had."""
    asked, key_at_its_end = folder.asked(), folder.results()["server"]
    if key_at_its_end and key_at_its_end["remaining"] == 0 and asked < job.config.budget:
        raise BudgetTooSmall(
            f"The key ended after {asked} of {job.config.budget} queries: other runs spend it too. Have its budget "
            f"raised, remove {folder.path}, and start the sweep again."
        )


def _replay(place: Place, job: Job, folder: RunFolder, stop: StopRequest) -> None:
    assert job.leader is not None, "who asks, does not replay"
    wanted = job.config.model_dump()
    flags = {
        name: wanted[name] for name in ("method", "response", "budget", "student", "shift", "flip", "distillation")
    }
    source, config = changed(open_source(place.folder(job.leader).path), None, flags)
    replay(source, config, folder.path, Watcher(should_stop=stop), place.data_root)


def _traffic_of(results: dict[str, Any], link: Link | None) -> dict[str, Any]:
    took = {
        name: sum(stage[name] for stage in results["stages"].values())
        for name in ("bytes_up", "bytes_down", "link_seconds")
    }
    return took if link else took | {"link_seconds": None}


def _traffic_foreseen(place: Place, config: Config, teacher: TeacherClient) -> dict[str, Any]:
    """What a run of its own would have sent and received, as `mekd-edge plan` tells it beforehand."""
    metadata, usage = teacher.metadata(), teacher.usage()
    local = _local(place, config)
    plan = make_plan(config, metadata, usage, local)
    total = predict(config, plan, local, Terms(teacher, metadata, usage, place.link), None).total
    return {"bytes_up": total.bytes_up, "bytes_down": total.bytes_down, "link_seconds": total.link_seconds}


def _local(place: Place, config: Config) -> LocalImages:
    return local_images(config, place.data_root, ModelMetadata(name="not asked", inputs=[], outputs=[]))


def _any(key: SecretStr | None, cloud: Cloud) -> SecretStr:
    """A key to ask for the teacher's name with."""
    return cloud.key_of_run("", 0, "") if key is None else key


def _no_questions(stage: str, images: object) -> Any:
    raise AssertionError("a shared generator asks nothing")

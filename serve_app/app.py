"""Ingress → Driver → {Recognizer, Translator}: four binds, nothing else. Numbers are in serve_config.yaml."""

from ray.serve import Application

from configs.app import AppSettings
from serve_app.deployments.driver import Driver
from serve_app.deployments.ingress import Ingress
from serve_app.deployments.recognizer import Recognizer
from serve_app.deployments.translator import Translator


def build(settings: AppSettings) -> Application:
    """The application that `import_path` of serve_config.yaml names; Serve validates `args:` into `settings`."""
    recognizer = Recognizer.bind(settings)
    translator = Translator.bind(settings)
    driver = Driver.bind(recognizer, translator, settings)
    return Ingress.bind(driver, recognizer, translator, settings)

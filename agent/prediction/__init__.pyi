from .figure import check_figure as check_figure
from .figure import draw_prediction as draw_prediction
from .predict import Selection as Selection
from .predict import check_target as check_target
from .predict import predict_to as predict_to
from .predict import quantities_of as quantities_of
from .request import PredictOptions as PredictOptions
